"""Replays the recorded answers of a real Kubernetes 1.36 against a running lab.

A recording is a file of requests and answers, in order. A `Scenario` says how one is played: which recording, what its
namespace held that the recording does not show (`prepare`), what somebody did between its steps outside of the API
(`before`), and which steps the lab leaves out on purpose, each with the reason (`exceptions`). `player.play` sends
every request and compares every answer; `compare` says what counts as equal, and nothing else does.

To add one: copy the recording into ``tests/lab/recordings``, add a `Scenario` to the list of the test module it belongs
to (``test_services``, ``test_objects``, ``test_workloads``, ``test_pods``), run that module, and mend the lab until it
agrees. Then ``AGREEMENT=write pytest tests/lab/replay`` renews the table in docs/lab.md, which the tests compare with
what they measure. A step may be an exception only if what it asks is not the lab's business; one that agrees after all
fails the test, so that the list stays honest.

What to know:
- A step is named by its number in the file, from 0, or by its note.
- The namespace of a scenario is its own, ``golden-svc`` becoming ``golden-svc-service-create``, unless it `follows`
  another one, whose objects and paired values it then takes over. Scenarios run side by side.
- What depends on who is first is one of the `races`: it may agree or not.
- A GET waits, by a watch, until the recorded answer is there, since recordings were made after a state was reached;
  `at_once` names those that must not wait, `passing` those that caught a state which lasts only milliseconds here (see
  `history`). What writes to an object with a status waits for the recorded status.
- A watch goes on until the end of the scenario, or until the step that `closes` says.
"""
