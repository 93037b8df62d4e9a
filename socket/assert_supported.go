//go:build !linux && !darwin

package socket

// The identifier is not defined, so that the compiler says why the build fails.
// This file is the first of its package, so that it says so first.
const _ = nowd_supports_linux_and_darwin_only
