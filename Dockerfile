# The steps of Singularity.def for Docker and Podman. make dist first; docs/packages.md tells sizes and arguments.
#
#     docker build --tag virnucpro:0.1.0 .
#     docker run --rm --gpus all --user "$(id -u):$(id -g)" --volume "$PWD:$PWD" --workdir "$PWD" virnucpro:0.1.0 virnucpro info
ARG FROM=debian:bookworm-slim

FROM ${FROM} AS installed
ARG DIST=target/dist/virnucpro-0.1.0-linux-x86_64.tar.zst
ARG GPU=yes
COPY ${DIST} /opt/virnucpro.tar.zst
COPY scripts/image/install.sh /opt/install.sh
RUN sh /opt/install.sh /opt/virnucpro.tar.zst ${GPU} && rm /opt/virnucpro.tar.zst /opt/install.sh

# One layer, without the archive.
FROM scratch
COPY --from=installed / /
LABEL org.opencontainers.image.title="virnucpro" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.description="Finds viral DNA in metagenomic reads and contigs" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LC_ALL=C.UTF-8 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# No entry point: workflow engines run the image's shell.
CMD ["virnucpro", "--help"]
