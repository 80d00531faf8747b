package processor

import (
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// GET_BROKER_HA_STATUS 907, RESET_MASTER_FLUSH_OFFSET 908, GET_BROKER_EPOCH_CACHE 1007, POP_ROLLBACK 200056: what tools ask every
// broker, as a master without slaves answers.
//
// Behavior:
// * 908 means slaves; a master succeeds and does nothing.
// * 1007 is refused outside of controller mode.
// * 200056 turns POP records of Java's RocksDB into messages of the revive topic. They are there from the beginning here, so that
//   there is nothing left to do.
//
// Apache: AdminBrokerProcessor, HARuntimeInfo.

// haStatus answers GET_BROKER_HA_STATUS.
func (p *Processor) haStatus(req *remoting.Request) (*codec.Command, error) {
	return jsonResponse(req, codec.HARuntimeInfo{
		HAConnectionInfo: []codec.HAConnectionInfo{}, Master: true, MasterCommitLogMaxOffset: p.store.Written(),
	})
}

// nothingToDo answers requests that a broker like this one has already fulfilled.
func (p *Processor) nothingToDo(req *remoting.Request) (*codec.Command, error) {
	return req.Response(codec.Success), nil
}

// epochCache answers GET_BROKER_EPOCH_CACHE.
func (p *Processor) epochCache(*remoting.Request) (*codec.Command, error) {
	return nil, refuse(codec.SystemError, "this request only for controllerMode ")
}
