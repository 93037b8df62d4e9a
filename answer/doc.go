// Package answer turns requests into answers: bytes in, bytes out. It does no I/O. Each
// dialect has its own file, and reports the result of a request as an [Outcome].
//
// Only one goroutine may use a [Text] or a [Daytime]: they cache parts of their last
// answer.
package answer
