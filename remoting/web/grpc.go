package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// exportMethod is the one method of gRPC that is called here; net/http speaks HTTP/2, so a whole gRPC library would serve five bytes of
// frame and a trailer. Its request, ExportMetricsServiceRequest, has the same bytes as MetricsData.
const exportMethod = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

// maxGRPCAnswer bounds the answer of a collector.
const maxGRPCAnswer = 1 << 20

// collectorClient calls an OpenTelemetry collector. Apache: OtlpGrpcMetricExporter.
type collectorClient struct {
	url     string
	headers http.Header
	timeout time.Duration
	client  *http.Client
}

// newCollectorClient takes a target, "host:port" with or without a scheme ("https" without), and headers, "key:value,key:value".
func newCollectorClient(target, headers string, timeout time.Duration) (*collectorClient, error) {
	if !strings.HasPrefix(target, "http") {
		target = "https://" + target
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("metricsGrpcExporterTarget=%s: want host:port, http://host:port or https://host:port", target)
	}
	c := &collectorClient{url: u.Scheme + "://" + u.Host + exportMethod, headers: make(http.Header), timeout: timeout}
	for pair := range strings.SplitSeq(headers, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, ":")
		if key, value = strings.TrimSpace(key), strings.TrimSpace(value); !ok || key == "" {
			return nil, errors.New("metricsGrpcExporterHeader: want key:value,key:value") // the value may be a secret
		}
		c.headers.Set(key, value)
	}
	c.headers.Set("Content-Type", "application/grpc")
	c.headers.Set("TE", "trailers")
	c.headers.Set("Grpc-Encoding", "gzip")
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	c.client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, Protocols: &protocols}}
	return c, nil
}

// export sends one message and returns when the collector has taken it.
func (c *collectorClient) export(ctx context.Context, m *metricspb.MetricsData) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	frame, err := grpcFrame(m)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(frame))
	if err != nil {
		return err
	}
	req.Header = c.headers
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxGRPCAnswer))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("collector answers HTTP %s", resp.Status)
	}
	if err := grpcStatus(resp); err != nil {
		return err
	}
	return refusedPoints(body)
}

// close ends idle connections.
func (c *collectorClient) close() { c.client.CloseIdleConnections() }

// grpcFrame is a compressed message behind its flag and length.
func grpcFrame(m *metricspb.MetricsData) ([]byte, error) {
	text, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write([]byte{1, 0, 0, 0, 0})
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	frame := b.Bytes()
	binary.BigEndian.PutUint32(frame[1:5], uint32(len(frame)-5))
	return frame, nil
}

// grpcStatus reads the status, which comes after the answer or in its place.
func grpcStatus(resp *http.Response) error {
	status, text := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if status == "" {
		status, text = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	if status == "0" {
		return nil
	}
	if status == "" {
		return errors.New("what answers is no gRPC server")
	}
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	return fmt.Errorf("collector answers status %s: %s", status, text)
}

// refusedPoints reads the points that a collector has not taken from its answer: field 1 holds their number, field 1, and why, field 2.
func refusedPoints(body []byte) error {
	if len(body) < 5 {
		return nil
	}
	answer := body[5:]
	if body[0] == 1 {
		z, err := gzip.NewReader(bytes.NewReader(answer))
		if err != nil {
			return fmt.Errorf("collector's answer: %w", err)
		}
		if answer, err = io.ReadAll(io.LimitReader(z, maxGRPCAnswer)); err != nil {
			return fmt.Errorf("collector's answer: %w", err)
		}
	}
	partial := field(answer, 1)
	count, _ := protowire.ConsumeVarint(field(partial, 1))
	if why := field(partial, 2); count > 0 || len(why) > 0 {
		return fmt.Errorf("collector has not taken %d points: %s", count, why)
	}
	return nil
}

// field returns the value of a message's field, nil when it has none or is none: the content of a text or message, the bytes of a number.
func field(message []byte, number protowire.Number) []byte {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil
		}
		message = message[size:]
		if size = protowire.ConsumeFieldValue(n, kind, message); size < 0 {
			return nil
		}
		if n == number {
			if kind == protowire.BytesType {
				content, _ := protowire.ConsumeBytes(message)
				return content
			}
			return message[:size]
		}
		message = message[size:]
	}
	return nil
}
