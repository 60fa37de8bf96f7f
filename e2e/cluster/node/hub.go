package node

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// The largest frame that QEMU sends, with room for what offloading makes of it.
const mostFrameBytes = 128 << 10

// Hub is the network between the nodes: what one emulator sends, all others get. Emulators connect to a socket and send
// each Ethernet frame behind its length, four bytes in network order (QEMU's `-netdev stream`).
type Hub struct {
	mutex sync.Mutex
	ports map[net.Conn]struct{}
}

// Serve takes connections until the listener is closed.
func (h *Hub) Serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		h.mutex.Lock()
		if h.ports == nil {
			h.ports = map[net.Conn]struct{}{}
		}
		h.ports[connection] = struct{}{}
		h.mutex.Unlock()
		go h.forward(connection)
	}
}

func (h *Hub) forward(from net.Conn) {
	defer func() {
		h.mutex.Lock()
		delete(h.ports, from)
		h.mutex.Unlock()
		from.Close()
	}()
	for {
		frame, err := readFrame(from)
		if err != nil {
			return
		}
		h.send(from, frame)
	}
}

// send holds the lock while it writes, so that frames of two nodes do not mix.
func (h *Hub) send(from net.Conn, frame []byte) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for port := range h.ports {
		if port != from {
			// An emulator that is gone is noticed where it is read.
			_, _ = port.Write(frame)
		}
	}
}

// readFrame returns a frame with its length in front, as it is sent on.
func readFrame(reader io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(reader, header[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(header[:])
	if length > mostFrameBytes {
		return nil, errors.New("a frame is too long")
	}
	frame := make([]byte, len(header)+int(length))
	copy(frame, header[:])
	_, err := io.ReadFull(reader, frame[len(header):])
	return frame, err
}
