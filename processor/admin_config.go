package processor

import (
	"errors"
	"fmt"

	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// UPDATE_BROKER_CONFIG 25, GET_BROKER_CONFIG 26.
//
// Behavior:
// * The body is Java's properties text, one key=value a line. Whoever owns the configuration decides what may change; a key that
//   may not is NO_PERMISSION, an unknown one is ignored.
// * 26 has the version of the configuration, as JSON text, in its header.
//
// Apache: AdminBrokerProcessor.

// updateConfig answers UPDATE_BROKER_CONFIG.
func (p *Processor) updateConfig(req *remoting.Request) (*codec.Command, error) {
	if p.opts.UpdateConfig == nil {
		return nil, errors.New("the configuration cannot be changed while the broker runs")
	}
	if len(req.Body) > 0 {
		if err := p.opts.UpdateConfig(req.Body); err != nil {
			return nil, err
		}
		p.log.Info("configuration updated", "client", req.Conn.RemoteAddr())
	}
	return req.Response(codec.Success), nil
}

// config answers GET_BROKER_CONFIG.
func (p *Processor) config(req *remoting.Request) (*codec.Command, error) {
	if p.opts.ReadConfig == nil {
		return nil, errors.New("the configuration cannot be read")
	}
	text, version := p.opts.ReadConfig()
	versionText, err := codec.MarshalJSON(version)
	if err != nil {
		return nil, fmt.Errorf("write the version of the configuration: %w", err)
	}
	resp := req.Response(codec.Success)
	resp.Body, resp.Header = text, &codec.GetBrokerConfigResponse{Version: string(versionText)}
	return resp, nil
}
