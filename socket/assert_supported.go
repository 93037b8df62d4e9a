//go:build !linux && !darwin

package socket

// The identifier is not defined: the compiler's message names the supported
// systems. This file is the package's first, so that message comes first.
const _ = nowd_supports_linux_and_darwin_only
