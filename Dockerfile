# The image of dynamo-launch and of the programs that come with it: docker build -t dynamo-launch .
#
# Both bases can be pinned by digest or replaced; they must be of the same distribution, because the programs are linked against the
# libraries of the first one. docs/images.md says how to build on an image of Dynamo.
ARG SWIFT_IMAGE=swift:6.3-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${SWIFT_IMAGE} AS build
WORKDIR /source
COPY launch/install-packages.sh launch/build-packages.sh launch/
RUN launch/build-packages.sh
COPY Package.swift ./
COPY Sources Sources
COPY Tests Tests
COPY Examples Examples
RUN set -eu; \
    mkdir /programs; \
    for program in dynamo-launch dynamo-frontend dynamo-router dynamo-worker; do \
        swift build -c release --static-swift-stdlib --product "$program"; \
        strip -o "/programs/$program" "$(swift build -c release --show-bin-path)/$program"; \
    done

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="dynamo-launch" \
    org.opencontainers.image.description="Starts, proves and stops an NVIDIA Dynamo deployment from one manifest"
# Some images have another user than root; packages need root.
USER root
# What the programs are linked against, each by the name of Debian 12, and two that they use otherwise: nats-server for manifests with a
# managed server, and the certificates of authorities for NATS over TLS. An interpreter of shell scripts is not among them.
ARG RUNTIME_PACKAGES="\
    ca-certificates \
    libgcc-s1 \
    libnats3.4 \
    libstdc++6 \
    libsystemd0 \
    libxxhash0 \
    libzmq5 \
    nats-server \
    zlib1g"
# hadolint ignore=DL3008,SC2086
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $RUNTIME_PACKAGES \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir -p /var/lib/dynamo-launch /run/dynamo-launch \
    && chmod 1777 /var/lib/dynamo-launch /run/dynamo-launch
COPY --from=build /programs/ /usr/local/bin/
# Any user can use these folders, in whatever file system they are. There is no home and need not be an entry in /etc/passwd.
ENV HOME=/var/lib/dynamo-launch \
    XDG_STATE_HOME=/var/lib/dynamo-launch \
    XDG_RUNTIME_DIR=/run/dynamo-launch
USER 1000:1000
WORKDIR /var/lib/dynamo-launch
EXPOSE 8000 9180
STOPSIGNAL SIGTERM
# The first process reaps and passes signals on, so no other one is needed for that. Without a manifest it is the embedded deployment.
ENTRYPOINT ["/usr/local/bin/dynamo-launch"]
CMD ["up", "--health", "0.0.0.0:9180"]
