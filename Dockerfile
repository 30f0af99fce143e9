# palitune with JAX for NVIDIA cards, from wheels that need nothing of the host but its driver.
#   bin/docker-build.sh            builds it
#   bin/docker-run.sh COMMAND      runs a stage in it; docs/container.md tells the rest
# Weights never enter the image: checkpoints/, cache/ and playground/ are mounted.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
# cuda12, cuda13, cpu or dev (cpu with what the tests need): the files in requirements/.
ARG REQUIREMENTS=cuda12
# The reference implementation, which palitune verify compares with; 0 leaves it out.
ARG WITH_BIG_VISION=1
ARG BIG_VISION_URL=https://github.com/google-research/big_vision
WORKDIR /build
# The slow layer is made anew only when a version changes, not when the code does.
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
# The places that bin/docker-run.sh mounts, so that they are there under a read-only root too.
RUN mkdir -p /palitune/playground /palitune/checkpoints /palitune/cache /kaggle
# PALITUNE_ENVIRONMENT tells bin/demo.sh and bin/test.sh that nothing is left to install.
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
