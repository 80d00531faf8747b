package processor

import (
	"strconv"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
	"github.com/apogee-mq/apogee/store"
)

// GET_TIMER_CHECK_POINT 60, GET_TIMER_METRICS 61, and what a send does with TIMER_ properties.
//
// Behavior:
// * Of several properties TIMER_DELAY_SEC comes first, then TIMER_DELAY_MS, then TIMER_DELIVER_MS.
// * A moment that is over delivers at once, also one that only an overflow made so, as in Java.
// * The two requests are answered with errors when timerWheelEnable=false.
//
// Apache: HookUtils.transformTimerMessage, AdminBrokerProcessor.

// time sends a message by way of rmq_sys_wheel_timer unless its moment is over, and returns its slot in ms.
func (p *Processor) time(m *store.Message, props *sentProps) (slotMs int64, err error) {
	if m.Topic == store.TopicWheelTimer {
		return 0, nil
	}
	timer := p.opts.Timer
	if timer == nil {
		return 0, refuse(codec.SystemError, "accurate timer message is not enabled, timerWheelEnable is false")
	}
	live, nowMs := p.live(), p.opts.Now().UnixMilli()
	deliverMs, ok := props.deliverMs(nowMs)
	switch {
	case !ok, deliverMs <= nowMs && props.recalls != nil, deliverMs > nowMs && deliverMs-nowMs > live.TimerMaxDelay.Milliseconds():
		return 0, refuse(codec.MessageIllegal, "timer message illegal, the delay time should not be bigger than the max delay %dms; or if set "+
			"del msg, the delay time should be bigger than the current time", live.TimerMaxDelay.Milliseconds())
	case deliverMs <= nowMs:
		return 0, nil
	}
	slotMs = timer.SlotMs(deliverMs)
	if p.slotIsFull(slotMs, live.TimerSlotMax) {
		return 0, refuse(codec.SystemError, "timer message is under flow control, max num limit is %d or the current value is greater than %d and "+
			"less than %d, trigger random flow control", 2*live.TimerSlotMax, live.TimerSlotMax, 2*live.TimerSlotMax)
	}
	timer.Redirect(m, slotMs)
	if len(m.Properties) > codec.MaxPropertiesBytes {
		return 0, p.illegal()
	}
	return slotMs, nil
}

// deliverMs returns the moment that the properties ask for, in ms; ok is false for one that is no number. Sums overflow as
// in Java.
func (s *sentProps) deliverMs(nowMs int64) (deliverMs int64, ok bool) {
	text, unit := s.deliver, int64(1)
	switch {
	case s.delaySeconds != nil:
		text, unit = s.delaySeconds, 1000
	case s.delayMs != nil:
		text = s.delayMs
	default:
		nowMs = 0
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	return nowMs + n*unit, err == nil
}

// slotIsFull decides whether a slot takes one message more. Apache: TimerMessageStore.isReject.
func (p *Processor) slotIsFull(slotMs, most int64) bool {
	const unlimited = 1<<31 - 1
	if most >= unlimited {
		return false
	}
	count := p.opts.Timer.SlotCount(slotMs)
	switch {
	case count <= most:
		return false
	case count >= 2*most:
		return true
	}
	// Java refuses the more seldom the fuller the slot is.
	return float64(p.opts.Random(1000)) > float64(1000*(count-most))/(float64(most)+0.1)
}

// timerCheckpoint answers GET_TIMER_CHECK_POINT.
func (p *Processor) timerCheckpoint(req *remoting.Request) (*codec.Command, error) {
	if p.opts.Timer == nil {
		return nil, refuse(codec.SystemError, "The checkpoint is null")
	}
	resp := req.Response(codec.Success)
	resp.Body = p.opts.Timer.Checkpoint()
	return resp, nil
}

// timerMetrics answers GET_TIMER_METRICS.
func (p *Processor) timerMetrics(req *remoting.Request) (*codec.Command, error) {
	if p.opts.Timer == nil {
		return nil, refuse(codec.SystemError, "The timer message store is null")
	}
	return jsonResponse(req, p.opts.Timer.Metrics())
}

// addTimer adds how the timer is doing to GET_BROKER_RUNTIME_INFO.
func (p *Processor) addTimer(table map[string]string) {
	var st store.TimerStatus
	if p.opts.Timer != nil {
		st = p.opts.Timer.Status()
	}
	table["timerReadBehind"] = strconv.FormatInt(st.SecondsBehind(), 10)
	table["timerOffsetBehind"] = strconv.FormatInt(st.OffsetBehind, 10)
	table["timerCongestNum"] = strconv.FormatInt(st.Waiting, 10)
	table["timerEnqueueTps"] = describeDouble(st.EnqueuePerSecond)
	table["timerDequeueTps"] = describeDouble(st.DequeuePerSecond)
}
