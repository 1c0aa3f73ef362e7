# kubereach for runs inside a cluster, and for machines without Python: docker build -t kubereach:0.1.0 .
# The lab is not what this image is for: it needs nftables, and rights that a container seldom has. Nor is kind, which
# needs a container engine: neither extra is installed.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY kubereach kubereach
COPY kubereach_lab kubereach_lab
COPY suites suites
COPY manifests manifests
COPY docs/report-v1.schema.json docs/
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels kubereach
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["kubereach"]
CMD ["run", "--target", "existing"]
