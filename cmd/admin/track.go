package admin

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/apogee-mq/apogee/codec"
)

// track says what a group has done with a message. Apache: MessageTrack, TrackType.
type track struct {
	ConsumerGroup string `json:"consumerGroup"`
	TrackType     string `json:"trackType"`
	ExceptionDesc string `json:"exceptionDesc,omitempty"`
}

// tracks asks what each group that consumes a topic has done with a message. Apache: MQAdminExt.messageTrackDetail.
func (s *session) tracks(m *storedMessage) []track {
	route, err := s.route(m.topic)
	if err != nil {
		return nil
	}
	groups, err := s.groupsOf(route, m.topic)
	if err != nil {
		return nil
	}
	all := make([]track, 0, len(groups))
	for _, group := range groups {
		t := track{ConsumerGroup: group, TrackType: "UNKNOWN"}
		cc, _, err := s.connection(group, "")
		if err == nil {
			t.TrackType, err = s.trackType(m, group, cc)
		}
		if answer := (*answerError)(nil); errors.As(err, &answer) {
			t.ExceptionDesc = fmt.Sprintf("CODE:%d DESC:%s", answer.code, firstLine(answer.remark))
			switch answer.code {
			case codec.ConsumerNotOnline:
				t.TrackType = "NOT_ONLINE"
			case codec.BroadcastConsumption:
				t.TrackType, t.ExceptionDesc = "CONSUME_BROADCASTING", ""
			}
		} else if err != nil {
			t.ExceptionDesc = err.Error()
		}
		all = append(all, t)
	}
	return all
}

func (s *session) trackType(m *storedMessage, group string, cc *codec.ConsumerConnection) (string, error) {
	switch cc.ConsumeType {
	case "CONSUME_ACTIVELY":
		return "PULL", nil
	case "CONSUME_PASSIVELY":
	default:
		return "UNKNOWN", nil
	}
	stats, err := s.consumeStats(group, "", "")
	if err != nil {
		return "UNKNOWN", err
	}
	consumed := false
	for q, at := range stats.OffsetTable {
		here := m.broker == "" || q.BrokerName == m.broker
		consumed = consumed || here && q.Topic == m.topic && q.QueueID == m.QueueID && at.ConsumerOffset > m.QueueOffset
	}
	sub, known := cc.SubscriptionTable[m.topic]
	switch {
	case !consumed:
		return "NOT_CONSUME_YET", nil
	case known && len(sub.TagsSet) > 0 && !slices.Contains(sub.TagsSet, m.props[codec.PropTags]) && !slices.Contains(sub.TagsSet, "*"):
		return "CONSUMED_BUT_FILTERED", nil
	}
	return "CONSUMED", nil
}

func (s *session) sayTracks(all []track, end string) {
	if len(all) == 0 {
		s.say("\n\nWARN: No Consumer")
		return
	}
	s.say("\n\n")
	for _, t := range all {
		s.say("MessageTrack [consumerGroup=%s, trackType=%s, exceptionDesc=%s]%s", t.ConsumerGroup, t.TrackType, cmp.Or(t.ExceptionDesc, "null"), end)
	}
}
