package namesrv

import (
	"strings"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// GET_ROUTEINFO_BY_TOPIC 105. Every client asks every 30 s for every topic it uses, and before its first message.
//
// A client expects TopicRouteData, or 17 for a topic nobody has. Senders from V4_9_4 on get integer keys in quotes, older
// ones (the Go client says V4_9_1's number) without. Zone mode: with __ZONE_MODE and __ZONE_NAME, brokers of other zones that
// have a master are left out, and keys are bare for everyone. Apache: ClientRequestProcessor, ZoneRouteRPCHook.

const (
	// versionV494 is the MQVersion ordinal of V4_9_4.
	versionV494 = 401

	fieldTopic        = "topic"
	fieldStandardOnly = "acceptStandardJsonOnly"
	fieldZoneMode     = "__ZONE_MODE"
	fieldZoneName     = "__ZONE_NAME"

	faqSuffix = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
)

// waiting says that routes are held back, so that brokers have time to register after a start.
func (s *Server) waiting() bool {
	settings := s.settings.Load()
	return settings.NeedWaitForService && s.now().Sub(s.started) < settings.WaitForService
}

func (s *Server) route(req *remoting.Request) (*codec.Command, error) {
	topic, ok := req.Field(fieldTopic)
	if !ok {
		return nil, noRoute("null") // Java's text for it
	}
	if s.waiting() && !s.keeper.restored[string(topic)] {
		return nil, &codec.Refusal{Code: codec.SystemError, Remark: "name server not ready"}
	}
	if zone, ok := zoneOf(req); ok {
		return s.zoneRoute(req, string(topic), zone)
	}
	dialect := dialectBare
	if req.Version >= versionV494 || isTrue(req.Field(fieldStandardOnly)) {
		dialect = dialectStandard
	}
	body, ok, err := s.routes.body(topic, variant{req.Listener, dialect}, !req.Inline())
	switch {
	case !ok:
		return nil, remoting.ErrHandOver
	case err != nil:
		return nil, err
	case body == nil:
		return nil, noRoute(string(topic))
	}
	resp := req.Response(codec.Success)
	resp.Body = body
	return resp, nil
}

func (s *Server) zoneRoute(req *remoting.Request, topic, zone string) (*codec.Command, error) {
	if req.Inline() {
		return nil, remoting.ErrHandOver
	}
	route, ok := s.routes.zoneRoute(topic, zone, s.routes.doors.name(req.Listener))
	if !ok {
		return nil, noRoute(topic)
	}
	return withJSON(req, route)
}

// zoneOf returns the zone whose brokers alone the sender wants.
func zoneOf(req *remoting.Request) (string, bool) {
	if !isTrue(req.Field(fieldZoneMode)) {
		return "", false
	}
	zone, _ := req.Field(fieldZoneName)
	return string(zone), strings.TrimSpace(string(zone)) != ""
}

// keepZone takes the brokers of other zones out of a route. One without a master stays: its slaves are read from anywhere.
func keepZone(route *codec.TopicRouteData, zone string) {
	brokers, queues := route.BrokerDatas[:0], route.QueueDatas[:0]
	gone := make(map[string]bool)
	for _, b := range route.BrokerDatas {
		if b.BrokerAddrs[masterID] == "" || strings.EqualFold(b.ZoneName, zone) {
			brokers = append(brokers, b)
			continue
		}
		gone[b.BrokerName] = true
		for _, addr := range b.BrokerAddrs {
			delete(route.FilterServerTable, addr)
		}
	}
	for _, q := range route.QueueDatas {
		if !gone[q.BrokerName] {
			queues = append(queues, q)
		}
	}
	route.BrokerDatas, route.QueueDatas = brokers, queues
}

func noRoute(topic string) error {
	return &codec.Refusal{Code: codec.TopicNotExist, Remark: "No topic route info in name server for the topic: " + topic + faqSuffix}
}

// missing is the answer to a request without a field that it must have, with Apache's remark.
func missing(field string) error {
	return &codec.Refusal{Code: codec.SystemError, Remark: "the custom field <" + field + "> is null"}
}

// isTrue is Boolean.parseBoolean.
func isTrue(value []byte, ok bool) bool { return ok && strings.EqualFold(string(value), "true") }

// withJSON answers with v as a body in the bare dialect.
func withJSON(req *remoting.Request, v any) (*codec.Command, error) {
	body, err := codec.MarshalJSON(v)
	if err != nil {
		return nil, err
	}
	resp := req.Response(codec.Success)
	resp.Body = body
	return resp, nil
}
