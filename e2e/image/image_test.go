// Package image_test builds the container image as a release does, and runs it as a strict pod would: as the image's own
// user, on a read-only root, without capabilities. It pulls no image: the builder is this machine's Go over busybox.
//
// It takes a minute, root, and programs that a developer may not have. So it runs only with NOWD_IMAGE_TEST=1 or CI=true.
package image_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testVersion  = "1.2.3-test"
	testRevision = "0123456789abcdef0123456789abcdef01234567"

	// The tests ask until an answer comes, because a container starts slowly.
	startTimeout = 15 * time.Second
)

func TestMain(m *testing.M) {
	// The role of a client: this program, in the network namespace of the containers.
	if len(os.Args) == 5 && os.Args[1] == "ask" {
		answer, err := ask(os.Args[2], os.Args[3], os.Args[4])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Stdout.Write(answer)
		return
	}
	status := m.Run()
	sharedBench.close()
	os.Exit(status)
}

func TestConfigHasLabelsUserPortsAndHealthcheck(t *testing.T) {
	b := setUp(t)
	var image struct {
		Docker struct {
			Architecture string
			Config       struct {
				User         string
				Labels       map[string]string
				Entrypoint   []string
				ExposedPorts map[string]struct{}
				Env          []string
				Healthcheck  struct{ Test []string }
			}
		}
	}
	out := b.buildah(t, "inspect", "--type", "image", b.tag)
	if err := json.Unmarshal(out, &image); err != nil {
		t.Fatalf("buildah inspect: %v\n%s", err, out)
	}
	config := image.Docker.Config

	if want := "65532:65532"; config.User != want {
		t.Errorf("user is %q, want %q: Kubernetes needs a number for runAsNonRoot", config.User, want)
	}
	if want := []string{"/nowd"}; !slices.Equal(config.Entrypoint, want) {
		t.Errorf("entry point is %q, want %q", config.Entrypoint, want)
	}
	if want := []string{"CMD", "/nowd", "healthcheck"}; !slices.Equal(config.Healthcheck.Test, want) {
		t.Errorf("healthcheck is %q, want %q", config.Healthcheck.Test, want)
	}
	ports := slices.Sorted(maps.Keys(config.ExposedPorts))
	if want := []string{"3333/tcp", "3333/udp", "8086/tcp"}; !slices.Equal(ports, want) {
		t.Errorf("ports are %q, want %q", ports, want)
	}
	for name, want := range map[string]string{
		"title":    "nowd",
		"version":  testVersion,
		"revision": testRevision,
	} {
		if got := config.Labels["org.opencontainers.image."+name]; got != want {
			t.Errorf("label %s is %q, want %q", name, got, want)
		}
	}
	for name, value := range config.Labels {
		if value == "" {
			t.Errorf("label %s is empty", name)
		}
	}
	for _, variable := range config.Env {
		if !strings.HasPrefix(variable, "PATH=") {
			t.Errorf("the builder's environment is in the image: %s", variable)
		}
	}
	if image.Docker.Architecture != runtime.GOARCH {
		t.Errorf("architecture is %s, want this machine's, %s", image.Docker.Architecture, runtime.GOARCH)
	}
}

func TestImageIsSmallAndHoldsTheBinaryAlone(t *testing.T) {
	b := setUp(t)
	const limit = 13_000_000
	var size int64
	out := b.podman(t, "image", "inspect", "--format", "{{.Size}}", b.tag)
	if _, err := fmt.Sscan(string(out), &size); err != nil {
		t.Fatalf("size %q: %v", out, err)
	}
	if size >= limit {
		t.Errorf("image has %d bytes, want fewer than %d", size, limit)
	}
	t.Logf("image has %d bytes", size)
	b.checkFiles(t, b.tag, machines[runtime.GOARCH])
}

func TestCrossBuildForArm64(t *testing.T) {
	b := setUp(t)
	tag := b.tag + "-arm64"
	b.build(t, tag, "linux/arm64")
	out := b.buildah(t, "inspect", "--type", "image", "--format", "{{.Docker.Architecture}}", tag)
	if got := strings.TrimSpace(string(out)); got != "arm64" {
		t.Errorf("architecture is %q, want arm64", got)
	}
	b.checkFiles(t, tag, elf.EM_AARCH64)
}

func TestVersionIsTheBuilds(t *testing.T) {
	b := setUp(t)
	out := b.podman(t, b.runArgs("--rm", b.tag, "version")...)
	if !strings.Contains(string(out), testVersion) {
		t.Errorf("nowd version says %q, want %s in it", out, testVersion)
	}
}

func TestAnswersOverUDPAndTCPWithoutPrivileges(t *testing.T) {
	b := setUp(t)
	c := b.start(t)
	for _, network := range []string{"udp", "tcp"} {
		c.checkTime(t, network, time.UTC)
	}

	// The kernel's view of the process, not the options of podman.
	status, err := os.ReadFile("/proc/" + c.pid(t) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	for name, want := range map[string]string{
		"Uid":        "65532 65532 65532 65532",
		"Gid":        "65532 65532 65532 65532",
		"CapEff":     "0000000000000000",
		"CapPrm":     "0000000000000000",
		"CapBnd":     "0000000000000000",
		"NoNewPrivs": "1",
	} {
		if fields[name] != want {
			t.Errorf("%s of the process is %q, want %q", name, fields[name], want)
		}
	}
}

func TestZoneDataIsInside(t *testing.T) {
	b := setUp(t)
	c := b.start(t, "--env", "TZ=Asia/Tokyo")
	c.checkTime(t, "udp", time.FixedZone("Asia/Tokyo", 9*60*60)) // Tokyo has no summer time
}

func TestHealthcheckTellsHealthyFromNot(t *testing.T) {
	b := setUp(t)
	c := b.start(t)
	c.checkTime(t, "udp", time.UTC) // wait until it has started
	b.podman(t, "healthcheck", "run", c.name)

	// In a network of its own, without a nowd.
	cmd := b.podmanCommand(b.runArgs("--rm", "--network", "none", b.tag, "healthcheck")...)
	if out, err := cmd.CombinedOutput(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("healthcheck without a service: %v, want exit status 1\n%s", err, out)
	}
}

func TestSIGTERMEndsItAtOnceWithStatus0(t *testing.T) {
	b := setUp(t)
	c := b.start(t)
	c.checkTime(t, "udp", time.UTC) // wait until it has started
	const patience = 20 * time.Second
	start := time.Now()
	b.podman(t, "stop", "--time", fmt.Sprint(patience.Seconds()), c.name)
	if d := time.Since(start); d > patience/4 {
		t.Errorf("took %v to end", d)
	}
	out := b.podman(t, "container", "inspect", "--format", "{{.State.ExitCode}}", c.name)
	if got := strings.TrimSpace(string(out)); got != "0" {
		t.Errorf("exit status is %s, want 0\n%s", got, b.podman(t, "logs", c.name))
	}
}

// ask repeats a request until an answer comes, and returns the first read of the answer.
func ask(network, address, request string) (answer []byte, err error) {
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		answer, err = askOnce(network, address, request)
		if err == nil {
			return answer, nil
		}
	}
	return nil, err
}

func askOnce(network, address, request string) ([]byte, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	answer := make([]byte, 2048)
	n, err := conn.Read(answer)
	return answer[:n], err
}

// machines are the ELF names of the architectures that this test may run on.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// bench is what all tests share: the image, a storage of their own for containers, and a network of their own, in which the
// image's default ports are free.
type bench struct {
	storage []string // options of both buildah and podman
	netns   string   // the name of the network namespace
	tag     string   // the image, for this machine
	tags    []string // all images that were built
	ready   bool
}

var (
	sharedBench bench
	benchOnce   sync.Once
)

// setUp makes the bench at the first call, and returns it. It skips the test if the bench cannot be made.
func setUp(t *testing.T) *bench {
	t.Helper()
	ci := os.Getenv("CI") == "true"
	switch asked := os.Getenv("NOWD_IMAGE_TEST"); {
	case asked == "0", asked == "" && !ci:
		t.Skip("builds and runs a container image, which takes root and a minute: set NOWD_IMAGE_TEST=1")
	case testing.Short():
		t.Skip("builds and runs a container image")
	}
	if lack := missing(); lack != "" {
		if ci {
			t.Fatal(lack)
		}
		t.Skip(lack)
	}
	benchOnce.Do(func() { sharedBench.open(t) })
	if !sharedBench.ready {
		t.Fatal("the image could not be built: see the first failed test")
	}
	return &sharedBench
}

// missing returns what this machine lacks, or an empty string.
func missing() string {
	if runtime.GOOS != "linux" {
		return "containers need Linux"
	}
	if os.Geteuid() != 0 {
		return "a network namespace and an overlay file system need root"
	}
	for _, program := range []string{"go", "buildah", "podman", "runc", "ip", "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			return err.Error()
		}
	}
	return ""
}

func (b *bench) open(t *testing.T) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	containers := filepath.Join(cache, "nowd", "containers")
	b.storage = []string{
		"--root", filepath.Join(containers, "storage"),
		"--runroot", filepath.Join(containers, "run"),
		"--storage-driver", "overlay",
	}
	// Two runs at the same time must not share a name.
	id := fmt.Sprintf("nowd-test-%d", os.Getpid())
	b.tag = "localhost/nowd:" + id

	run(t, exec.Command("ip", "netns", "add", id))
	b.netns = id
	run(t, exec.Command("ip", "-netns", b.netns, "link", "set", "lo", "up"))
	b.buildBuilder(t)
	b.build(t, b.tag, "linux/"+runtime.GOARCH)
	b.ready = true
}

func (b *bench) close() {
	for _, tag := range b.tags {
		exec.Command("buildah", slices.Concat(b.storage, []string{"rmi", "--force", tag})...).Run()
	}
	if b.netns != "" {
		exec.Command("ip", "netns", "delete", b.netns).Run()
	}
}

// goSettings are the Go settings by which a build fetches modules as this machine does.
var goSettings = []string{"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOFLAGS"}

// buildBuilder builds a stand-in for golang:1.26, the Dockerfile's builder: a shell. build mounts Go into it.
func (b *bench) buildBuilder(t *testing.T) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	// The settings stay in the builder, in this test's storage. The image under test contains nothing of it.
	var settings []string
	for _, name := range goSettings {
		if value := goEnv(t, name); value != "" {
			settings = append(settings, "--env", name+"="+value)
		}
	}
	context := t.TempDir()
	run(t, exec.Command("cp", "--dereference", busybox, filepath.Join(context, "busybox")))
	dockerfile := filepath.Join(context, "Dockerfile")
	if err := os.WriteFile(dockerfile, []byte(`FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p -m 1777 /tmp
ENV GOPATH=/go GOCACHE=/root/.cache/go-build GOTOOLCHAIN=local PATH=/usr/local/go/bin:/bin
`), 0o644); err != nil {
		t.Fatal(err)
	}
	// With layers the same settings give the same image, and images do not accumulate.
	args := []string{"build", "--quiet", "--layers", "--isolation", "chroot", "--tag", "docker.io/library/golang:1.26"}
	b.buildah(t, slices.Concat(args, settings, []string{context})...)
}

func (b *bench) build(t *testing.T, tag, platform string) {
	t.Helper()
	certificates := os.Getenv("SSL_CERT_FILE")
	if certificates == "" {
		certificates = "/etc/ssl/certs/ca-certificates.crt"
	}
	start := time.Now()
	b.buildah(t, "build",
		// A chroot on the host's network needs neither cgroups nor bridges.
		"--isolation", "chroot", "--network", "host", "--pull-never",
		// The OCI format has no healthcheck.
		"--format", "docker",
		"--platform", platform,
		// buildah 1.28 does not set it before the first stage, and then takes the target's.
		"--build-arg", "BUILDPLATFORM=linux/"+runtime.GOARCH,
		"--build-arg", "VERSION="+testVersion,
		"--build-arg", "REVISION="+testRevision,
		// Mounted, not copied: with warm caches a build takes seconds.
		"--volume", goEnv(t, "GOROOT")+":/usr/local/go:ro",
		"--volume", goEnv(t, "GOMODCACHE")+":/go/pkg/mod",
		"--volume", goEnv(t, "GOCACHE")+":/root/.cache/go-build",
		"--volume", certificates+":/etc/ssl/certs/ca-certificates.crt:ro",
		"--tag", tag, "../..")
	b.tags = append(b.tags, tag)
	t.Logf("built for %s in %v", platform, time.Since(start).Round(time.Millisecond))
}

// checkFiles checks that the image has one file, a static binary for the machine.
func (b *bench) checkFiles(t *testing.T, tag string, machine elf.Machine) {
	t.Helper()
	root := strings.TrimSpace(string(b.podman(t, "image", "mount", tag)))
	defer b.podman(t, "image", "unmount", tag)
	var files []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, root))
		}
		return err
	})
	if want := []string{"/nowd"}; err != nil || !slices.Equal(files, want) {
		t.Fatalf("image holds %q (%v), want %q", files, err, want)
	}
	binary, err := elf.Open(filepath.Join(root, "nowd"))
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	if binary.Machine != machine {
		t.Errorf("binary is for %v, want %v", binary.Machine, machine)
	}
	for _, segment := range binary.Progs {
		if segment.Type == elf.PT_INTERP {
			t.Error("binary is not static: it needs a dynamic loader")
		}
	}
	if binary.Section(".debug_info") != nil || binary.Section(".symtab") != nil {
		t.Error("binary is not stripped")
	}
}

// container is a running container.
type container struct {
	bench *bench
	name  string
}

// start runs the image until the test ends.
func (b *bench) start(t *testing.T, options ...string) *container {
	t.Helper()
	c := &container{bench: b, name: fmt.Sprintf("nowd-test-%d-%s", os.Getpid(), t.Name())}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := b.podmanCommand("logs", c.name).CombinedOutput()
			t.Logf("log of the container:\n%s", out)
		}
		b.podmanCommand("rm", "--force", "--time", "0", c.name).Run()
	})
	b.podman(t, b.runArgs(slices.Concat([]string{"--detach", "--name", c.name}, options, []string{b.tag})...)...)
	return c
}

// runArgs returns podman's arguments for a container as in a pod of the level "restricted". The user is the image's.
func (b *bench) runArgs(args ...string) []string {
	run := []string{"run", "--pull", "never", "--log-driver", "k8s-file",
		"--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges",
		// Podman's own default may be more than root is allowed in a virtual machine.
		"--ulimit", "nofile=1024", "--ulimit", "nproc=1024"}
	if !slices.Contains(args, "--network") {
		run = append(run, "--network", "ns:/run/netns/"+b.netns)
	}
	return append(run, args...)
}

// checkTime asks for the default form, and compares its time with this machine's.
func (c *container) checkTime(t *testing.T, network string, zone *time.Location) {
	t.Helper()
	before := time.Now().Truncate(time.Microsecond)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, exec.Command("ip", "netns", "exec", c.bench.netns, self, "ask", network, "127.0.0.1:3333", "what time?\n"))
	after := time.Now()
	got, err := time.ParseInLocation("2006-01-02 15:04:05.000000\n", string(out), zone)
	if err != nil {
		t.Fatalf("answer over %s: %v", network, err)
	}
	if got.Before(before) || got.After(after) {
		t.Errorf("answer over %s is %q, want a time in %v between %v and %v", network, out, zone, before, after)
	}
}

// pid returns the process's id on this machine.
func (c *container) pid(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(string(c.bench.podman(t, "container", "inspect", "--format", "{{.State.Pid}}", c.name)))
}

func (b *bench) buildah(t *testing.T, args ...string) []byte {
	t.Helper()
	return run(t, exec.Command("buildah", slices.Concat(b.storage, args)...))
}

func (b *bench) podman(t *testing.T, args ...string) []byte {
	t.Helper()
	return run(t, b.podmanCommand(args...))
}

func (b *bench) podmanCommand(args ...string) *exec.Cmd {
	// crun refuses machines with cgroups of both versions. Neither systemd nor its journal is needed.
	engine := []string{"--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"}
	cmd := exec.Command("podman", slices.Concat(b.storage, engine, args)...)
	// The test runs the health checks itself, not systemd's timer.
	cmd.Env = append(os.Environ(), "DISABLE_HC_SYSTEMD=true")
	return cmd
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(string(run(t, exec.Command("go", "env", name))))
}

// run returns a command's standard output. If the command fails, the test fails with all its output.
func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes()
}
