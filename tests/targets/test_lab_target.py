"""The lab as a target: what a run says where no lab can start."""

from __future__ import annotations

import pytest

from kubereach.model.errors import CannotMeasure
from kubereach.targets.lab import LabTarget
from kubereach_lab import launch


def test_what_is_not_installed_is_told_with_the_other_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_PACKAGES", ("no_such_package",))
    target = LabTarget()
    target.begin()
    with pytest.raises(CannotMeasure, match="not installed: no_such_package") as caught:
        target.open()
    assert "pip install '.[lab]'" in caught.value.remedy
    assert caught.value.remedy.endswith(", or test a real cluster with --context NAME")
