package processor

import (
	"github.com/apogee-mq/apogee/codec"
	"github.com/apogee-mq/apogee/remoting"
)

// Table returns every request code that the broker answers, for its main port. Inline handlers run on the event loop and hand
// over to the pool what would wait for a disk.
func (p *Processor) Table() []remoting.Entry {
	return append(p.VIPTable(),
		remoting.Entry{Code: codec.PullMessage, Pool: remoting.PoolPull, Inline: true, Handler: p.pull},
		remoting.Entry{Code: codec.LitePullMessage, Pool: remoting.PoolPull, Inline: true, Handler: p.pull},
	)
}

// VIPTable returns the codes of the VIP port: all but the ones that read messages by queue.
func (p *Processor) VIPTable() []remoting.Entry {
	return []remoting.Entry{
		{Code: codec.SendMessage, Pool: remoting.PoolSend, Inline: true, Handler: p.send},
		{Code: codec.SendMessageV2, Pool: remoting.PoolSend, Inline: true, Handler: p.send},
		{Code: codec.SendBatchMessage, Pool: remoting.PoolSend, Inline: true, Handler: p.send},
		{Code: codec.ConsumerSendMsgBack, Pool: remoting.PoolSend, Handler: p.sendBack},
		{Code: codec.SendReplyMessage, Pool: remoting.PoolAdmin, Handler: p.reply},
		{Code: codec.SendReplyMessageV2, Pool: remoting.PoolAdmin, Handler: p.reply},
	}
}
