package processor

import (
	"errors"
	"time"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// END_TRANSACTION 37, RESUME_CHECK_HALF_MESSAGE 323, and the broker's own CHECK_TRANSACTION_STATE 39; also what a send does
// with a half message.
//
// Behavior:
// * A producer that does not know yet (commitOrRollback 0) gets no answer, whether it asked for one or not.
// * A half with CHECK_IMMUNITY_TIME_IN_SECONDS cannot be ended unasked when that time is over: 604.
// * A second end of a decided transaction is answered 0 and changes nothing, whatever it says; Java writes the message again.
// * A commit that somebody waits for is answered when the message is on disk with SYNC_FLUSH; Java does not wait.
// * A half message keeps DELAY and TIMER_ properties and its commit obeys them; Java delays the half and then loses it.
// * Resumed is any message, also one that never was a half, as in Java.
//
// Left out: transactionMetrics, the counts by topic that Java keeps in a file of its own.
//
// Apache: EndTransactionProcessor, TransactionalMessageServiceImpl, AdminBrokerProcessor.resumeCheckHalfMessage.

const (
	textNoHalf       = "Find prepared transaction message failed"
	textResumeThrown = "Exception was thrown when putting message back to RMQ_SYS_TRANS_HALF_TOPIC."
	textResumeFailed = "Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed."
)

// halve makes a half message of what was sent.
func (c *sendCall) halve(level int, live *liveSettings) error {
	if live.RejectTransactions {
		return refuse(codec.NoPermission, "the broker[%s] sending transaction message is forbidden", live.BrokerIP)
	}
	if c.p.opts.Txn.Full() {
		return refuse(codec.SystemBusy, "[TRANSACTIONS]broker busy, too many transactions are neither committed nor rolled back")
	}
	if level > 0 || c.props.timer { // what its commit would be refused for is refused now
		probe := c.msg
		if _, err := c.p.delay(&probe, &c.props, level); err != nil {
			return err
		}
	}
	store.Halve(&c.msg, c.props.uniqKey)
	c.text = c.msg.Properties
	if len(c.text) > codec.MaxPropertiesBytes {
		return c.p.illegal()
	}
	return nil
}

// endTransaction answers END_TRANSACTION.
func (p *Processor) endTransaction(req *remoting.Request) (*codec.Command, error) {
	var h codec.EndTransactionHeader
	if err := decodeHeader(req, &h, "producerGroup", "tranStateTableOffset", "commitLogOffset", "commitOrRollback", "msgId"); err != nil {
		return nil, err
	}
	commit := h.CommitOrRollback == codec.SysCommit
	switch {
	case h.CommitOrRollback == codec.SysNotTransaction:
		p.log.Debug("transaction is not decided yet", "group", h.ProducerGroup, "client", req.Conn.RemoteAddr(), "offset", h.CommitLogOffset)
		return nil, req.Park().Reply(nil)
	case !commit && h.CommitOrRollback != codec.SysRollback:
		return nil, refuse(codec.SystemError, "commitOrRollback field wrong")
	}
	live := p.live()
	half, err := p.halfToEnd(req, &h, live)
	if err != nil {
		return nil, err
	}
	var end int64
	err = p.opts.Txn.Decide(half, !req.Inline(), func() (err error) {
		if commit {
			end, err = p.putFinal(req, half)
		}
		return err
	})
	if errors.Is(err, store.ErrWouldBlock) {
		err = remoting.ErrHandOver
	}
	if err != nil {
		return nil, err
	}
	p.stats.traffic.decided(half.RealTopic, commit, p.opts.Now().Sub(time.UnixMilli(half.BornTimestampMs)))
	if end > 0 && live.SyncFlush && !req.IsOneway() {
		p.answerEndFlushed(req.Park(), end)
		return nil, nil
	}
	return req.Response(codec.Success), nil
}

// halfToEnd returns the half message that a request names, if it may be ended by it.
func (p *Processor) halfToEnd(req *remoting.Request, h *codec.EndTransactionHeader, live *liveSettings) (*store.Half, error) {
	half, err := p.opts.Txn.Half(h.CommitLogOffset, !req.Inline())
	switch {
	case errors.Is(err, store.ErrWouldBlock):
		return nil, remoting.ErrHandOver
	case errors.Is(err, store.ErrNotFound):
		return nil, refuse(codec.SystemError, textNoHalf)
	case err != nil:
		p.log.Warn("read half message", "group", h.ProducerGroup, "offset", h.CommitLogOffset, "error", err)
		return nil, refuse(codec.SystemError, textNoHalf)
	case !h.FromTransactionCheck && half.Late(p.opts.Now(), live.TransactionTimeOut):
		return nil, refuse(codec.IllegalOperation, "")
	case !half.HasGroup || half.Group != h.ProducerGroup:
		return nil, refuse(codec.SystemError, "The producer group wrong")
	case half.QueueOffset != h.TranStateTableOffset:
		return nil, refuse(codec.SystemError, "The transaction state table offset wrong")
	}
	return half, nil
}

// putFinal stores the message of a committed transaction and returns where it ends in the log.
func (p *Processor) putFinal(req *remoting.Request, half *store.Half) (endOffset int64, err error) {
	m, err := half.Final()
	if err != nil {
		return 0, refuse(codec.SystemError, "%v", err)
	}
	var props sentProps
	props.scan(m.Properties)
	level, ok := props.delayLevel()
	if !ok {
		return 0, refuse(codec.SystemError, "property DELAY is not a number: %q", props.delay)
	}
	if _, err := p.delay(m, &props, level); err != nil {
		return 0, err
	}
	var put store.PutResult
	if req.Inline() {
		err = p.store.Put(m, &put)
	} else {
		err = p.store.PutWait(m, &put)
	}
	if err != nil {
		return 0, p.endError(err)
	}
	p.stats.put(m.Topic, kindFinal, 1, put.EndOffset-put.PhysOffset)
	return put.EndOffset, nil
}

// endError turns what the store says of a final message into what its producer is told. Apache:
// EndTransactionProcessor.sendFinalMessage.
func (p *Processor) endError(err error) error {
	if errors.Is(err, store.ErrWouldBlock) {
		return err
	}
	told, ok := p.putError(err).(*codec.Refusal)
	switch {
	case !ok:
	case told.Code == codec.ServiceNotAvailable:
		return refuse(told.Code, "Service not available now.")
	case told.Code == codec.MessageIllegal:
		return refuse(told.Code, "The message is illegal, maybe msg body or properties length not matched. msg body length limit %dB, "+
			"msg properties length limit 32KB.", p.live().MaxMessageBytes)
	default:
		return told
	}
	return refuse(codec.SystemError, "UNKNOWN_ERROR")
}

// answerEndFlushed answers a commit once its message is on disk, or that is late, which counts as success.
func (p *Processor) answerEndFlushed(parked *remoting.Parked, endOffset int64) {
	p.store.AfterFlush(endOffset, func(err error) {
		resp := parked.Response(codec.Success)
		if _, refused := p.flushError(err); refused != nil {
			resp.Code, resp.Remark = codec.ServiceNotAvailable, "Service not available now."
		}
		if err := parked.Reply(resp); err != nil {
			p.log.Debug("answer to the end of a transaction is lost", "client", parked.Conn.RemoteAddr(), "error", err)
		}
	})
}

// resumeCheck answers RESUME_CHECK_HALF_MESSAGE: a message that was given up is checked again from the beginning.
func (p *Processor) resumeCheck(req *remoting.Request) (*codec.Command, error) {
	var h codec.ResumeCheckHalfMessageHeader
	if err := codec.DecodeHeader(&req.Command, &h); err != nil {
		return nil, err
	}
	_, physOffset, err := codec.ParseOffsetMsgID(h.MsgID)
	var record []byte
	if err == nil {
		record, err = p.store.MessageAt(physOffset)
	}
	var m *store.Message
	if err == nil {
		m, err = store.Resumed(record)
	}
	if err != nil {
		p.log.Warn("resume the checks of a half message", "id", h.MsgID, "error", err)
		return nil, refuse(codec.SystemError, textResumeThrown)
	}
	if err := p.store.PutWait(m, new(store.PutResult)); err != nil {
		p.log.Error("put half message back", "id", h.MsgID, "error", err)
		return nil, refuse(codec.SystemError, textResumeFailed)
	}
	return req.Response(codec.Success), nil
}

// TickTransactions asks producers about transactions that are due. Call it every 100 ms or so, from one goroutine.
func (p *Processor) TickTransactions(now time.Time) {
	live := p.live()
	err := p.opts.Txn.Tick(now, store.TxnSettings{
		TimeOut: live.TransactionTimeOut, CheckInterval: live.TransactionCheckInterval, CheckMax: int(live.TransactionCheckMax),
		Retention: live.MessageRetention, OpMaxBytes: int(live.TransactionOpMaxBytes), OpInterval: live.TransactionOpInterval,
	}, p.askProducer)
	if err != nil && !errors.Is(err, store.ErrClosed) {
		p.log.Error("transactions", "error", err)
	}
}

// askProducer sends CHECK_TRANSACTION_STATE to one of the group's producers.
func (p *Processor) askProducer(c *store.TxnCheck) {
	conn := p.clients.NextProducer(c.Group)
	if conn == nil {
		p.log.Warn("no producer is there to be asked about a transaction", "group", c.Group, "key", c.UniqKey)
		return
	}
	err := conn.Send(&codec.Command{
		Code: codec.CheckTransactionState, Version: codec.Version, Flag: codec.FlagOneway, Body: c.Record,
		Header: &codec.CheckTransactionStateHeader{
			Topic: store.TopicTransHalf, TranStateTableOffset: c.QueueOffset, CommitLogOffset: c.PhysOffset, MsgID: c.UniqKey, TransactionID: c.UniqKey,
			OffsetMsgID: string(codec.AppendOffsetMsgID(nil, c.StoreHost, c.PhysOffset)), BrokerName: p.live().BrokerName,
		},
	})
	if err != nil {
		p.log.Warn("question about a transaction is lost", "group", c.Group, "addr", conn.RemoteAddr(), "error", err)
	}
}
