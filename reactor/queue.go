package reactor

// A queue is a first-in, first-out list that keeps its memory.
type queue[T any] struct {
	items []T
	head  int // index of the oldest item
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

// push adds an item. It moves the items to the front before it allocates more
// memory, so that a queue that is never quite empty does not grow for ever.
func (q *queue[T]) push(x T) {
	if len(q.items) == cap(q.items) && q.head > 0 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

// pop dequeues the oldest item. The queue must not be empty.
func (q *queue[T]) pop() T {
	var zero T
	x := q.items[q.head]
	q.items[q.head] = zero
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return x
}
