package processor

import (
	"errors"
	"fmt"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// seeFAQ ends several remarks. Apache: FAQUrl.suggestTodo.
const seeFAQ = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."

// Kinds of a pull that is forbidden. Apache: ForbiddenType.
const (
	forbiddenBroker       int32 = 1
	forbiddenGroup        int32 = 2
	forbiddenTopic        int32 = 3
	forbiddenBroadcasting int32 = 4
	forbiddenSubscription int32 = 5
)

// refuse makes the error that a client sees as code and remark.
func refuse(code int32, format string, args ...any) *codec.Refusal {
	return &codec.Refusal{Code: code, Remark: fmt.Sprintf(format, args...)}
}

// missing is the error of a request without a field that Java fails on with a NullPointerException; SYSTEM_ERROR as there.
func missing(field string) error { return fmt.Errorf("the request has no %s", field) }

// putError turns what the store says of a message into what its sender is told. It is the one place where errors of a put
// become codes. Apache: SendMessageProcessor.handlePutMessageResult.
func (p *Processor) putError(err error) error {
	if errors.Is(err, store.ErrWouldBlock) {
		return remoting.ErrHandOver
	}
	p.stats.PutFailures.Add(1)
	switch {
	case errors.Is(err, store.ErrIllegal), errors.Is(err, store.ErrMessageTooLarge):
		return p.illegal()
	case errors.Is(err, store.ErrNoSpace):
		return p.diskFull()
	case errors.Is(err, store.ErrStuck):
		return refuse(codec.ServiceNotAvailable, "service not available now. queues or index cannot grow, the broker's disk may be full")
	case errors.Is(err, store.ErrReadOnly):
		return refuse(codec.ServiceNotAvailable, "service not available now. a flush to disk has failed, the store is read-only until the broker is restarted")
	case errors.Is(err, store.ErrClosed):
		return refuse(codec.ServiceNotAvailable, "service not available now. the message store has been shut down")
	case errors.Is(err, store.ErrTooManyLMQs):
		return refuse(codec.LMQQuotaExceeded, "[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]lmq consume queue num exceeded.")
	}
	p.log.Error("put message", "error", err)
	return refuse(codec.SystemError, "UNKNOWN_ERROR")
}

// diskFull refuses a message that no disk has room for, with how full the disks of log, queues and index are. Apache:
// SendMessageProcessor.diskUtil.
func (p *Processor) diskFull() *codec.Refusal {
	m := p.store.Metrics()
	return refuse(codec.ServiceNotAvailable, "service not available now. It may be caused by one of the following reasons: "+
		"the broker's disk is full [CL: %5.2f CQ: %5.2f INDEX: %5.2f], messages are put to the slave, message store has been shut down, etc.",
		m.LogDiskRatio, m.QueueDiskRatio, m.QueueDiskRatio)
}

// putBatchError is putError for a batch: a body that lies about its sizes, or is too large as a whole, fails in Java with an
// exception.
func (p *Processor) putBatchError(err error) error {
	if errors.Is(err, store.ErrIllegal) || errors.Is(err, store.ErrMessageTooLarge) {
		return fmt.Errorf("the batch cannot be read: %w", err)
	}
	return p.putError(err)
}

// putStatus names the store's error as Java names the status of a put.
func putStatus(err error) string {
	switch {
	case errors.Is(err, store.ErrIllegal):
		return "MESSAGE_ILLEGAL"
	case errors.Is(err, store.ErrMessageTooLarge):
		return "PROPERTIES_SIZE_EXCEEDED"
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, store.ErrStuck), errors.Is(err, store.ErrReadOnly), errors.Is(err, store.ErrClosed):
		return "SERVICE_NOT_AVAILABLE"
	}
	return "UNKNOWN_ERROR"
}

// tableError turns the error of a change of topics or groups into what its sender is told.
func tableError(err error) error {
	var attribute *store.AttributeError
	if errors.As(err, &attribute) {
		return refuse(codec.SystemError, "%s", attribute.Text)
	}
	return err
}

// illegal refuses a message that breaks a limit.
func (p *Processor) illegal() *codec.Refusal {
	return refuse(codec.MessageIllegal,
		"the message is illegal, maybe msg body or properties length not matched. msg body length limit %dB, msg properties length limit 32KB.",
		p.live().MaxMessageBytes)
}

// getError turns the error of a read into what a client is told.
func (p *Processor) getError(err error) error {
	switch {
	case errors.Is(err, store.ErrCold):
		return remoting.ErrHandOver
	case errors.Is(err, store.ErrClosed):
		return refuse(codec.SystemError, "store getMessage return null")
	}
	p.log.Error("get messages", "error", err)
	return refuse(codec.SystemError, "%v", err)
}

// forbidden refuses a pull with NO_PERMISSION and says what forbids it.
func forbidden(kind int32, format string, args ...any) *codec.Refusal {
	r := refuse(codec.NoPermission, format, args...)
	r.Header = &codec.PullRefusal{ForbiddenType: kind}
	return r
}

func topicUnknownToSend(topic string) *codec.Refusal {
	return refuse(codec.TopicNotExist, "topic[%s] not exist, apply first please!%s", topic, seeFAQ)
}

func topicUnknownToPull(topic string) *codec.Refusal {
	return refuse(codec.TopicNotExist, "topic[%s] not exist, apply first please! %s", topic, seeFAQ)
}

func groupUnknown(group string) *codec.Refusal {
	return refuse(codec.SubscriptionGroupNotExist, "subscription group not exist, %s %s", group, seeFAQ)
}

// createError turns the error of creating a topic into what the client is told.
func (p *Processor) createError(topic string, err error) error {
	p.log.Error("create topic", "topic", topic, "error", err)
	return refuse(codec.SystemError, "create topic[%s]: %v", topic, err)
}

// flushError turns the error of waiting for the disk into the code of an answer that is otherwise complete, or into a
// refusal when the message may be lost.
func (p *Processor) flushError(err error) (code int32, refused error) {
	switch {
	case err == nil:
		return codec.Success, nil
	case errors.Is(err, store.ErrReadOnly):
		return 0, p.putError(err)
	}
	return codec.FlushDiskTimeout, nil
}

// errorResponse is the answer to a parked request that failed.
func errorResponse(parked *remoting.Parked, err error) *codec.Command {
	r, ok := err.(*codec.Refusal)
	if !ok {
		r = refuse(codec.SystemError, "%v", err)
	}
	resp := parked.Response(r.Code)
	resp.Remark, resp.Header = r.Remark, r.Header
	return resp
}
