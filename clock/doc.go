// Package clock reads the host's time and bounds its error.
//
// # The kernel's bound
//
// The kernel keeps an error bound of the clock: the maximum error of adjtimex(2).
// The daemon that steers the clock writes it. The kernel adds 500 µs each second
// (second_overflow in Linux's kernel/time/ntp.c). When the time is set, the
// kernel resets the bound to 16 s, which means that no bound is known. What the
// bound covers depends on the daemon:
//
//   - chronyd (sys_timex.c, reference.c) writes half the root delay plus the root
//     dispersion as of its last update, at most 16 s. That is NTP's bound, which
//     covers the whole way from the primary server. It leaves out the correction
//     that chronyd is making: chronyd slews by changing the frequency, and the
//     kernel's offset reads 0. So the bound is too small from the moment at which
//     chronyd finds the clock off until it has corrected it. STA_UNSYNC stays set
//     unless chronyd is configured with rtcsync.
//   - ntpd (ntp_loopfilter.c, of ntp.org and of ntpsec) writes the same. It also
//     writes the offset that the kernel is to slew, which is part of the bound
//     here. If ntpd steers the clock by itself, not by the kernel's loop, it
//     writes nothing.
//   - systemd-timesyncd (timesyncd-manager.c) writes 0 with each answer that it
//     accepts, every 32 to 2048 s. It leaves out the delay and the dispersion of
//     its server. So the bound is the offset still to be slewed, and 500 ppm since
//     the last answer. It covers drift, but not the error of the server and the
//     network. Configure NOWD_UPSTREAM, or a floor, to cover them.
//   - OpenNTPD on Linux (compat/adjfreq_linux.c of the portable version) writes 0
//     while it is synchronised.
//   - busybox's ntpd (networking/ntpd.c) has both fields commented out and writes
//     none. Its clock is good, but the kernel says 16 s: no bound is known.
//   - Without a daemon no bound is known either: for example on a virtual machine
//     whose hypervisor keeps the time.
//
// # The measurement's bound
//
// A Measurement is a comparison with a time server, made by package upstream. It
// gives a bound where the kernel has none, and checks the kernel's bound.
//
// # When a bound holds
//
// A bound holds under three conditions: the daemon's bound is right; the clock
// runs within 500 ppm of true time, apart from what the kernel says it slews; and
// the Measurement, if there is one, is right to within its own bound.
package clock
