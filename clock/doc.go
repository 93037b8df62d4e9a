// Package clock says what time it is on this host, and how far off that may be.
//
// What the kernel says of its clock it was told by the daemon that steers it;
// the kernel adds 500 µs to the maximum error each second, and that is all it
// does of its own (second_overflow in Linux's kernel/time/ntp.c). When the time
// is set it forgets what it was told, and the maximum error is 16 s, which
// stands for no claim at all. So a bound means what the daemon means by it:
//
//   - chronyd (sys_timex.c, reference.c) writes half the root delay and the root
//     dispersion as of its last update, 16 s at the most. That is a bound in
//     NTP's sense, all the way from the primary server; but it leaves out the
//     correction that chronyd is about to make, which the kernel does not know
//     of: chronyd slews by frequency, and the offset to be slewed reads 0. So
//     on a clock that has just been found to be off the bound is too small
//     until that is put right. STA_UNSYNC stays set unless chronyd is told
//     rtcsync.
//   - ntpd (ntp_loopfilter.c, in ntp.org's as in ntpsec) writes the same two, and
//     the offset as one to be slewed, which is part of the bound here; if it
//     steers the clock by itself, not by the kernel's loop, it writes nothing.
//   - systemd-timesyncd (timesyncd-manager.c) writes 0, with each answer that it
//     takes: every 32 to 2048 s. Delay and dispersion of its one server are not
//     in it. So the bound is what was still to be slewed and 500 ppm since the
//     last answer. It is what the clock can have drifted by, and no bound on how
//     wrong the server and the way to it are: for that give NOWD_UPSTREAM, or a
//     floor.
//   - OpenNTPD on Linux (compat/adjfreq_linux.c of the portable version) writes
//     0 as well while it is synchronised.
//   - busybox's ntpd (networking/ntpd.c) has both fields commented out and writes
//     none. Its clock is good, but the kernel says 16 s, and nothing is known.
//   - Nobody: a virtual machine that its hypervisor keeps right, or a container's
//     host without a daemon. Nothing is known, either.
//
// For the latter two, and to check the others, there is a Measurement: the
// comparison with a time server, made by package upstream.
//
// A bound thus holds if the daemon's claim does, the clock runs within 500 ppm
// of true time but for what the kernel says it slews, and the Measurement, if
// there is one, is right to within its own bound.
package clock
