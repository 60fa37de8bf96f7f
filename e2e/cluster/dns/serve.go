package dns

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	mostMessageBytes = 64 << 10
	// Programs ask again after five seconds.
	upstreamTimeout = 3 * time.Second
	idleTimeout     = 30 * time.Second
)

type server struct {
	lookup Lookup
	// upstream answers for the rest of the world; empty: nobody does.
	upstream string
}

// Run publishes the name service as the Service of the address, and serves it at the listening address until ctx ends.
func Run(ctx context.Context, config *rest.Config, listen string, service Service) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp4", listen)
	if err != nil {
		return err
	}
	defer packets.Close()
	streams, err := net.Listen("tcp4", listen)
	if err != nil {
		return err
	}
	defer streams.Close()
	if err := service.publish(ctx, client); err != nil {
		return err
	}
	s := server{lookup: watchServices(ctx, client).lookup, upstream: nameserver("/etc/resolv.conf")}
	go s.servePackets(packets)
	go s.serveStreams(streams)
	<-ctx.Done()
	return nil
}

func (s server) servePackets(packets net.PacketConn) {
	buffer := make([]byte, mostMessageBytes)
	for {
		length, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return
		}
		query := append([]byte(nil), buffer[:length]...)
		go func() {
			if reply := s.reply("udp", query); reply != nil {
				_, _ = packets.WriteTo(reply, from)
			}
		}()
	}
}

func (s server) serveStreams(streams net.Listener) {
	for {
		connection, err := streams.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			for {
				_ = connection.SetDeadline(time.Now().Add(idleTimeout))
				query, err := readMessage(connection)
				if err != nil {
					return
				}
				reply := s.reply("tcp", query)
				if reply == nil || writeMessage(connection, reply) != nil {
					return
				}
			}
		}()
	}
}

// reply is nil for what is no query.
func (s server) reply(network string, packed []byte) []byte {
	var query dnsmessage.Message
	if query.Unpack(packed) != nil || query.Response {
		return nil
	}
	message, mine := answer(query, s.lookup)
	if !mine {
		if reply, err := s.ask(network, packed); err == nil {
			return reply
		}
		message = failure(query)
	}
	reply, err := message.Pack()
	if err != nil {
		return nil
	}
	return reply
}

func (s server) ask(network string, query []byte) ([]byte, error) {
	if s.upstream == "" {
		return nil, errors.New("this machine has no nameserver")
	}
	connection, err := net.DialTimeout(network, s.upstream, upstreamTimeout)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(upstreamTimeout))
	if network == "tcp" {
		if err := writeMessage(connection, query); err != nil {
			return nil, err
		}
		return readMessage(connection)
	}
	if _, err := connection.Write(query); err != nil {
		return nil, err
	}
	reply := make([]byte, mostMessageBytes)
	length, err := connection.Read(reply)
	return reply[:length], err
}

// Over TCP each message has its length in front.
func readMessage(reader io.Reader) ([]byte, error) {
	var length uint16
	if err := binary.Read(reader, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	message := make([]byte, length)
	_, err := io.ReadFull(reader, message)
	return message, err
}

func writeMessage(writer io.Writer, message []byte) error {
	_, err := writer.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
	return err
}

// nameserver is the first one of a resolver's configuration, or empty.
func nameserver(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "nameserver" {
			return net.JoinHostPort(fields[1], "53")
		}
	}
	return ""
}
