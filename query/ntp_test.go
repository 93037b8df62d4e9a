package query

import (
	"math"
	"testing"
	"time"

	"nowd/ntp"
)

// FuzzNTPResponse: for any response, the error and the bound of the answer are not negative.
func FuzzNTPResponse(f *testing.F) {
	f.Add(uint8(0), uint8(2), int64(954), uint32(66), uint32(131), int64(1e6))
	f.Add(uint8(3), uint8(0), int64(math.MinInt64), uint32(math.MaxUint32), uint32(math.MaxUint32), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, leap, stratum uint8, precision int64, rootDelay, rootDispersion uint32, delay int64) {
		a := ntpAnswer(&ntp.Response{
			Leap: ntp.Leap(leap & 3), Stratum: stratum, Precision: time.Duration(precision),
			RootDelay: ntp.Short(rootDelay).Duration(), RootDispersion: ntp.Short(rootDispersion).Duration(),
			Delay: time.Duration(delay&math.MaxInt64) / 2, // up to 146 years: more than timestamps can give, an era
		})
		if a.Error < 0 || a.HasBound && a.Bound < 0 {
			t.Errorf("%+v", a)
		}
	})
}
