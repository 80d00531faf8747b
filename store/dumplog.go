package store

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"github.com/apogee-mq/apogee/codec"
)

// logFile shows the records of a commit log file.
func (d *dumper) logFile(path string) error {
	base, _ := segmentBase(filepath.Base(path))
	r, err := openLogFile(path, base, false)
	if err != nil {
		return err
	}
	defer r.close()
	var m codec.Message
	pos := int64(0)
	if at := d.opts.From - base; at > 0 && at < r.size {
		if _, err := r.record(at, &m); err == nil {
			pos = at
		}
	}
	w, err := r.walk(d.ctx, pos, r.size, &logDump{d})
	if err != nil {
		return err
	}
	if w.kind == logBroken && base+w.pos >= d.opts.From {
		return d.row(field{"pos", w.pos}, field{"damaged", w.cause.Error()}, field{"until", r.size})
	}
	return nil
}

// logDump shows what walk finds.
type logDump struct{ d *dumper }

func (l *logDump) damage(pos, until int64, cause error) error {
	return l.d.row(field{"pos", pos}, field{"damaged", cause.Error()}, field{"until", until})
}

func (l *logDump) record(pos int64, m *codec.Message) error {
	o := &l.d.opts
	if m.PhysOffset < o.From || !o.passes(string(m.Topic), m.QueueID) {
		return nil
	}
	return l.d.row(recordFields(pos, m, o)...)
}

// passes reports whether a topic and queue are asked for.
func (o *DumpOptions) passes(topic string, queueID int32) bool {
	return (o.Topic == "" || o.Topic == topic) && (o.QueueID < 0 || o.QueueID == queueID)
}

// recordFields are all fields of a stored message, under the names of MessageExt.
func recordFields(pos int64, m *codec.Message, o *DumpOptions) []field {
	fields := []field{
		{"pos", pos},
		{"physOffset", m.PhysOffset},
		{"size", m.TotalSizeBytes},
		{"topic", string(m.Topic)},
		{"queueId", m.QueueID},
		{"queueOffset", m.QueueOffset},
		{"storeTimestamp", m.StoreTimestampMs},
		{"storeTime", timeText(m.StoreTimestampMs)},
		{"storeHost", m.StoreHost.String()},
		{"bornTimestamp", m.BornTimestampMs},
		{"bornHost", m.BornHost.String()},
		{"magic", int32(m.Magic)},
		{"flag", m.Flag},
		{"sysFlag", m.SysFlag},
		{"reconsumeTimes", m.ReconsumeTimes},
		{"preparedTransactionOffset", m.PreparedTransactionOffset},
		{"bodyCRC", int64(m.BodyCRC)},
	}
	if err := m.CheckBody(); err != nil {
		fields = append(fields, field{"damaged", err.Error()})
	}
	var props []field
	for it := codec.NewPropertyIter(m.Properties); it.Next(); {
		props = append(props, field{string(it.Key), string(it.Value)})
	}
	fields = append(fields, field{"properties", props}, field{"bodyLength", int64(len(m.Body))})
	switch {
	case o.Body == BodyNone:
	case o.Body == BodyHex, o.JSON && !utf8.Valid(m.Body):
		fields = append(fields, field{"bodyHex", hex.EncodeToString(m.Body)})
	default:
		fields = append(fields, field{"body", string(m.Body)})
	}
	return fields
}

// indexFile shows the header and the entries of an index file.
func (d *dumper) indexFile(path string) error {
	r, err := openReader(path, windowBytes)
	if err != nil {
		return err
	}
	defer r.close()
	b, err := r.bytes(0, indexHeaderBytes)
	if err != nil {
		return err
	}
	if len(b) < indexHeaderBytes {
		return d.row(field{"damaged", "the header is cut off"})
	}
	h := indexHeaderAt(b)
	slots, slotErr := findIndexSlots(r, h, int64(d.opts.IndexSlots))
	err = d.row(field{"beginTimestamp", h.beginMs}, field{"beginTime", timeText(h.beginMs)},
		field{"endTimestamp", h.endMs}, field{"endTime", timeText(h.endMs)},
		field{"beginPhysOffset", h.beginPhys}, field{"endPhysOffset", h.endPhys},
		field{"slotsInUse", h.usedSlots}, field{"indexCount", h.next}, field{"slots", slots})
	if err != nil {
		return err
	}
	if slotErr != nil {
		return d.row(field{"damaged", fmt.Sprintf("%v: the number of slots must be given", slotErr)})
	}
	x := indexCheck{slots: slots}
	for n := max(d.opts.From, 1); n < int64(h.next); n++ {
		pos := x.entryPos(n)
		b, err := r.bytes(pos, indexEntryBytes)
		if err != nil {
			return err
		}
		if len(b) < indexEntryBytes {
			return d.row(field{"pos", pos}, field{"damaged", "the file ends here"})
		}
		e := indexEntryAt(b)
		timeMs := h.beginMs + int64(e.seconds)*1000
		if err := d.row(field{"entry", n}, field{"pos", pos}, field{"hash", e.hash}, field{"slot", int64(max(e.hash, 0)) % slots},
			field{"physOffset", e.physOffset}, field{"seconds", e.seconds}, field{"time", timeText(timeMs)}, field{"older", e.older}); err != nil {
			return err
		}
	}
	return nil
}
