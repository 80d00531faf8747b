package processor

// dueItem is what waits in a dueHeap.
type dueItem interface {
	// due is when it is the item's turn, in the unit of its heap.
	due() int64
	// moved tells the item its place in the heap, -1 when it is taken out.
	moved(place int)
}

// dueHeap orders what waits by the time it waits for; container/heap keeps it.
type dueHeap[T dueItem] []T

func (d dueHeap[T]) Len() int           { return len(d) }
func (d dueHeap[T]) Less(i, j int) bool { return d[i].due() < d[j].due() }
func (d dueHeap[T]) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].moved(i)
	d[j].moved(j)
}

// Push adds an item. heap calls it.
func (d *dueHeap[T]) Push(x any) {
	item := x.(T)
	item.moved(len(*d))
	*d = append(*d, item)
}

// Pop takes the last item. heap calls it.
func (d *dueHeap[T]) Pop() any {
	last := len(*d) - 1
	item := (*d)[last]
	clear((*d)[last:])
	*d = (*d)[:last]
	item.moved(-1)
	return item
}
