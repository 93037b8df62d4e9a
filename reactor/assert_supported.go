//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package reactor

// The identifier is not defined: the compiler's message names the supported
// systems. This file is the package's first, so that message comes first.
const _ = reactor_supports_linux_darwin_and_the_BSDs_only
