# The builder runs on the machine's own architecture and cross-compiles for the one that is asked for.
ARG GO_IMAGE=docker.io/library/golang:1.26
# As in main.go; a test holds the two together.
ARG VERSION=0.1.0

FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
WORKDIR /src
# Modules change less often than sources: a layer of their own is not fetched again.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION
# scratch has neither a C library nor zone files: both must be inside the binary, or not needed by it.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -tags timetzdata -ldflags "-s -w -X main.version=$VERSION" -o /out/nowd .

FROM scratch
ARG VERSION REVISION=unknown
# No creation time here: the builder records it in the image itself, and an argument not given would leave an empty
# label. Give it, where it is wanted, with --label org.opencontainers.image.created=...
LABEL org.opencontainers.image.title="nowd" \
      org.opencontainers.image.description="Tells the time of its host, and how sure it is, over UDP and TCP" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/nowd /nowd
# Numbers, because Kubernetes cannot tell of a name that it is not root's (runAsNonRoot).
USER 65532:65532
EXPOSE 3333/udp 3333/tcp 8086/tcp
# In exec form: there is no shell. Only Docker's image format carries it (buildah build --format docker), and Kubernetes
# has probes of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/nowd", "healthcheck"]
ENTRYPOINT ["/nowd"]
