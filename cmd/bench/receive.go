package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/apogee-mq/apogee/codec"
)

// pullsInFlight bounds the pulls of one connection that reads queues to their ends: a server refuses what it has not come to in 5 s.
const pullsInFlight = 1024

// pollTime is how long a pull may wait at the server for a message.
const pollTime = 15 * time.Second

// receiver is one connection that pulls queues of one broker, one pull of each in flight at most.
type receiver struct {
	conn    *conn
	group   string
	queues  []queue
	from    []int64 // queue offsets to begin at
	at      []int64 // queue offsets to pull next
	wait    time.Duration
	again   bool // whether a queue that is read to its end is read from its beginning again
	message codec.Message
	see     func(m mark, bodyBytes int)
}

func (l *load) newReceiver(ctx context.Context, group string, queues []queue, from []int64) (*receiver, error) {
	c, err := l.connect(ctx, queues[0].addr)
	if err != nil {
		return nil, err
	}
	return &receiver{conn: c, group: group, queues: queues, from: from, at: append([]int64(nil), from...)}, nil
}

func (r *receiver) pull(i int) error {
	h := &pull{q: r.queues[i], group: r.group, offset: r.at[i], suspendMs: r.wait.Milliseconds()}
	return r.conn.add(&codec.Command{Code: codec.PullMessage, Language: codec.LanguageGo, Opaque: int32(i), Header: h})
}

// run pulls until ctx ends, or without wait and again until every queue is read to its end.
func (r *receiver) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = r.conn.SetReadDeadline(time.Now()) })()
	asked := len(r.queues)
	if r.wait == 0 && !r.again {
		asked = min(asked, pullsInFlight)
	}
	for i := range asked {
		if err := r.pull(i); err != nil {
			return err
		}
	}
	for open := len(r.queues); open > 0; {
		if err := r.conn.flush(); err != nil {
			return r.ended(ctx, err)
		}
		for first := true; first || r.conn.r.Buffered() >= 4; first = false {
			more, err := r.readOne()
			if err != nil {
				return r.ended(ctx, err)
			}
			if more {
				continue
			}
			if open--; asked < len(r.queues) {
				if err := r.pull(asked); err != nil {
					return err
				}
				asked++
			}
		}
	}
	return nil
}

// readOne takes one answer and asks again; false says that a queue is read to its end.
func (r *receiver) readOne() (more bool, err error) {
	resp, err := r.conn.read()
	if err != nil {
		return false, err
	}
	i := int(resp.Opaque)
	if i < 0 || i >= len(r.queues) {
		return false, fmt.Errorf("an answer to no request: opaque %d", resp.Opaque)
	}
	next, ok := resp.Field("nextBeginOffset")
	if ok {
		if r.at[i], err = strconv.ParseInt(string(next), 10, 64); err != nil {
			return false, fmt.Errorf("nextBeginOffset %q: %w", next, err)
		}
	}
	switch resp.Code {
	case codec.Success:
		if err := r.records(resp.Body); err != nil {
			return false, err
		}
	case codec.PullNotFound, codec.PullRetryImmediately, codec.PullOffsetMoved:
		if r.wait == 0 && !r.again {
			return false, nil
		}
		if r.again {
			r.at[i] = r.from[i]
		}
	default:
		return false, fmt.Errorf("pull of queue %d of %s: %d %s", r.queues[i].id, r.queues[i].topic, resp.Code, resp.Remark)
	}
	return true, r.pull(i)
}

func (r *receiver) records(b []byte) error {
	for len(b) > 0 {
		n, err := codec.DecodeMessage(b, &r.message)
		if err != nil {
			return fmt.Errorf("a message that was pulled: %w", err)
		}
		if m, ok := readMark(r.message.Body); ok {
			r.see(m, len(r.message.Body))
		}
		b = b[n:]
	}
	return nil
}

// ended is the end of a run that was asked for, or the error that a connection ended with.
func (r *receiver) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("connection to %s: %w", r.queues[0].addr, err)
}
