package reactor

// queue is a first-in, first-out list that keeps its memory.
type queue[T any] struct {
	items []T
	head  int // of the next to take
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

// push makes room at the front before it grows, so that a queue that is never
// quite empty stays as small as it can.
func (q *queue[T]) push(x T) {
	if len(q.items) == cap(q.items) && q.head > 0 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

// pop takes the oldest item of a queue that is not empty.
func (q *queue[T]) pop() T {
	var none T
	x := q.items[q.head]
	q.items[q.head] = none
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return x
}
