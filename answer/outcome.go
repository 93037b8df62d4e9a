package answer

// Outcome is the result of a request: an answer in a Form, an HTTP error, or no
// answer, for one of two reasons. It is also an index below NumOutcomes, so that
// outcomes can be counted without a branch.
type Outcome uint8

const (
	// NoRequest: no answer, because the bytes are no request in this dialect.
	NoRequest Outcome = iota
	// Untrusted: no answer, because the clock is not trusted and the dialect
	// cannot say so.
	Untrusted
	// HTTPError: an HTTP answer with a status other than 200. It has no time.
	HTTPError
	// answered + f: an answer in form f.
	answered
)

// NumOutcomes is the number of outcomes.
const NumOutcomes = int(answered) + NumForms

// Answered returns the outcome of a request that is answered in form f.
func Answered(f Form) Outcome { return answered + Outcome(f) }

// Form returns the form of the answer, and false if the outcome has none: no
// answer, or an HTTP error.
func (o Outcome) Form() (f Form, ok bool) {
	if o < answered {
		return 0, false
	}
	return Form(o - answered), true
}
