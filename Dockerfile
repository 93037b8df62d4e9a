# The builder runs on the machine's own architecture and cross-compiles for the target's.
ARG GO_IMAGE=docker.io/library/golang:1.26
# The same as in main.go; a test compares the two.
ARG VERSION=0.1.0

FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
WORKDIR /src
# In a layer of their own, which is built again only when go.mod or go.sum changes.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION
# scratch has no C library and no zone files: the binary needs no library, and contains the zones.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -tags timetzdata -ldflags "-s -w -X main.version=$VERSION" -o /out/nowd .

FROM scratch
ARG VERSION REVISION=unknown
# There is no label for the creation time: the builder records it in the image itself, and a missing argument would leave the
# label empty. To add it: --label org.opencontainers.image.created=...
LABEL org.opencontainers.image.title="nowd" \
      org.opencontainers.image.description="Tells the time of its host, and how sure it is, over UDP and TCP" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/nowd /nowd
# Numbers, because Kubernetes cannot check runAsNonRoot with a user's name.
USER 65532:65532
EXPOSE 3333/udp 3333/tcp 8086/tcp
# In exec form, because the image has no shell. Only Docker's image format has health checks (buildah build --format docker).
# Kubernetes uses its own probes instead.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/nowd", "healthcheck"]
ENTRYPOINT ["/nowd"]
