// Package clock reads the host's time and bounds its error.
//
// The kernel keeps an error bound, the maximum error, for the daemon that steers
// the clock. The daemon writes it; the kernel only adds 500 µs a second
// (second_overflow in Linux's kernel/time/ntp.c). When the time is set, the
// kernel resets it to 16 s, which is no claim at all. So the bound means what
// the daemon means by it:
//
//   - chronyd (sys_timex.c, reference.c) writes half the root delay plus the root
//     dispersion as of its last update, 16 s at most. That is NTP's bound, all the
//     way from the primary server. But it leaves out the correction that chronyd
//     is about to make: chronyd slews by frequency, so the kernel does not know of
//     it, and its offset to be slewed reads 0. The bound of a clock that was just
//     found to be off is too small until it is corrected. STA_UNSYNC stays set
//     unless chronyd is configured with rtcsync.
//   - ntpd (ntp_loopfilter.c, in ntp.org's as in ntpsec) writes the same, and the
//     offset as one to be slewed, which is part of the bound here. If it steers
//     the clock by itself, not by the kernel's loop, it writes nothing.
//   - systemd-timesyncd (timesyncd-manager.c) writes 0 with each answer that it
//     accepts: every 32 to 2048 s. Delay and dispersion of its one server are left
//     out. So the bound is the offset still to be slewed and 500 ppm since the
//     last answer. It covers how far the clock can have drifted, but not the error
//     of the server and the network: for that configure NOWD_UPSTREAM, or a floor.
//   - OpenNTPD on Linux (compat/adjfreq_linux.c of the portable version) writes
//     0 as well while it is synchronised.
//   - busybox's ntpd (networking/ntpd.c) has both fields commented out and writes
//     none. Its clock is good, but the kernel says 16 s, so no bound is known.
//   - No daemon: a virtual machine whose hypervisor keeps the time, or a host
//     without one. No bound is known here either.
//
// For the last two, and to check the others, there is a Measurement: a comparison
// with a time server, made by package upstream.
//
// So a bound holds if the daemon's claim does, the clock runs within 500 ppm of
// true time apart from what the kernel says it slews, and the Measurement, if
// there is one, is right to within its own bound.
package clock
