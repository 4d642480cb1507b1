# syntax=docker/dockerfile:1
#
# Kura's image: one static binary, the authorities that it trusts and a font,
# on nothing. There is no shell in it, and no user but a number.
#
#   docker buildx build -t kura .
#   docker buildx build -t kura --platform linux/amd64,linux/arm64 \
#     --sbom=true --provenance=true --build-arg VERSION=0.1.0 --push .
#
# The compiler runs on the machine that builds and makes code for the one
# that will run it: nothing is emulated.

ARG RUST=1.95.0
FROM --platform=$BUILDPLATFORM docker.io/library/rust:${RUST}-slim-bookworm AS build
ARG TARGETARCH
ARG RUST
# With --sbom, the crates in this stage are listed, too.
ARG BUILDKIT_SBOM_SCAN_STAGE=true
# The image has this compiler; rust-toolchain.toml also asks for linters.
ENV RUSTUP_TOOLCHAIN=${RUST}

# Debian's musl-dev of an architecture has a compiler's wrapper of the name
# that Rust and its C code look for; it calls the GNU compiler for that
# architecture.
RUN set -eu; \
    case $TARGETARCH in \
      amd64) cpu=x86_64 gcc=gcc-x86-64-linux-gnu ;; \
      arm64) cpu=aarch64 gcc=gcc-aarch64-linux-gnu ;; \
      *) echo "no image for $TARGETARCH: amd64 or arm64" >&2; exit 1 ;; \
    esac; \
    [ "$(dpkg --print-architecture)" != "$TARGETARCH" ] || gcc=gcc; \
    dpkg --add-architecture "$TARGETARCH"; \
    apt-get update; \
    apt-get install -y --no-install-recommends \
      ca-certificates fonts-ipaexfont-gothic gcc libc6-dev nasm "$gcc" "musl-dev:$TARGETARCH"; \
    rm -rf /var/lib/apt/lists/*; \
    rustup target add "$cpu-unknown-linux-musl"; \
    echo "$cpu-unknown-linux-musl" > /target

# What goes into the image beside the binary. The font is for PDFs that name
# one without bringing it; its licence has to go along.
RUN set -eu; \
    install -D -m 644 -t /image/etc/ssl/certs /etc/ssl/certs/ca-certificates.crt; \
    install -D -m 644 -t /image/usr/share/fonts /usr/share/fonts/opentype/ipaexfont-gothic/ipaexg.ttf; \
    install -D -m 644 -t /image/usr/share/doc/fonts-ipaexfont-gothic /usr/share/doc/fonts-ipaexfont-gothic/copyright; \
    install -d -m 700 /state/var/lib/kura; \
    install -d -m 711 /state/var/cache/kura

WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
# Cargo.toml asks for `thin`; `off` builds sooner.
ARG LTO=thin
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    set -eu; \
    target=$(cat /target); \
    export "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_LINKER=${target%%-*}-linux-musl-gcc"; \
    export CARGO_PROFILE_RELEASE_LTO="$LTO"; \
    cargo build --release --locked --features asm --target "$target"; \
    install -D -m 755 "target/$target/release/kura" /image/kura

FROM scratch
COPY --from=build /image/ /
# Fargate gives a volume the owner and mode that its directory has here.
COPY --from=build --chown=8950:8950 /state/ /
VOLUME ["/var/lib/kura", "/var/cache/kura"]
USER 8950:8950
ENV KURA_STORE=dir:/var/lib/kura
EXPOSE 8950
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["/kura", "healthcheck"]
ENTRYPOINT ["/kura"]
CMD ["serve"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Kura" \
      org.opencontainers.image.description="S3 attachment storage sidecar for Redmine" \
      org.opencontainers.image.source="https://github.com/redmine-kura/kura" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
