//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package reactor

// The identifier is not defined, so that the compiler says why the build fails.
// This file is the first of its package, so that it says so first.
const _ = reactor_supports_linux_darwin_and_the_BSDs_only
