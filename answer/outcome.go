package answer

// Outcome is the result of a request: an answer in a Form, an HTTP error, or no answer, for
// one of two reasons. It is also an index below NumOutcomes, so that outcomes can be
// counted without a branch.
type Outcome uint8

const (
	// NoRequest: no answer, because the bytes are not a request in this dialect.
	NoRequest Outcome = iota
	// Untrusted: no answer, because the clock is not trusted and the dialect has no way
	// to say so.
	Untrusted
	// HTTPError: an HTTP answer with a status other than 200. It has no time.
	HTTPError
	// answered + f: an answer in form f.
	answered
)

// NumOutcomes is the number of outcomes.
const NumOutcomes = int(answered) + NumForms

// Answered returns the outcome of an answer in form f.
func Answered(f Form) Outcome { return answered + Outcome(f) }

// Form returns the form of the answer. It returns false for no answer and for an HTTP
// error.
func (o Outcome) Form() (f Form, ok bool) {
	if o < answered {
		return 0, false
	}
	return Form(o - answered), true
}
