// Package answer turns requests into answers: bytes in, bytes out. It does no
// I/O. Each dialect has a file of its own, and reports the result of a request
// as an [Outcome].
//
// A value of one of its types belongs to one goroutine, because it caches parts
// of its last answer for the next one.
package answer
