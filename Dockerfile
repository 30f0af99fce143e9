# The image has palitune and JAX for NVIDIA cards, from wheels that need nothing of the host but its driver.
#   bin/docker-build.sh            builds it
#   bin/docker-run.sh COMMAND      runs a stage in it; docs/container.md explains the rest
# Weights never enter the image: checkpoints/, cache/ and playground/ are mounted.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
# cuda12, cuda13, cpu or dev (cpu with the packages that the tests need) names a file in requirements/.
ARG REQUIREMENTS=cuda12
# palitune verify compares with this reference implementation; 0 leaves it out.
ARG WITH_BIG_VISION=1
ARG BIG_VISION_URL=https://github.com/google-research/big_vision
WORKDIR /build
# This slow layer is rebuilt only when a version changes, not when the code does.
COPY requirements requirements
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes --no-deps -r "requirements/${REQUIREMENTS}.txt"
COPY bin/install-big_vision.sh bin/
# hadolint ignore=DL3008
RUN mkdir -p /opt/big_vision \
 && if [ "${WITH_BIG_VISION}" = 1 ]; then \
      { command -v git || { apt-get update && apt-get install -y --no-install-recommends git ca-certificates; }; } \
      && BIG_VISION_URL="${BIG_VISION_URL}" sh bin/install-big_vision.sh /opt/big_vision \
      && rm -rf /var/lib/apt/lists/*; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${BASE_IMAGE}
COPY --from=build /opt /opt
COPY bin /palitune/bin
# bin/docker-run.sh mounts these folders; they have to exist because the root file system is read-only.
RUN mkdir -p /palitune/playground /palitune/checkpoints /palitune/cache /kaggle
# PALITUNE_ENVIRONMENT tells bin/demo.sh and bin/test.sh that everything is installed.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/big_vision \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PALITUNE_ENVIRONMENT=/opt/venv \
    PALITUNE_HOME=/palitune \
    KAGGLE_CONFIG_DIR=/kaggle
WORKDIR /palitune/playground
USER 1000:1000
ENTRYPOINT ["/palitune/bin/docker-entrypoint.sh"]
CMD ["bash"]
