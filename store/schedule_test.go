package store

func newFakeLog() *fakeLog { return &fakeLog{} }

type fakeLog struct{}

func (*fakeLog) MinQueueOffset(string, int32) int64 { return 0 }
func (*fakeLog) MaxQueueOffset(string, int32) int64 { return 0 }
func (*fakeLog) QueueEntry(string, int32, int64) (int64, int32, int64, bool) {
	return 0, 0, 0, false
}
func (*fakeLog) MessageAt(int64) ([]byte, error)    { return nil, ErrNotFound }
func (*fakeLog) PutWait(*Message, *PutResult) error { return nil }
