package door

import (
	"encoding/binary"
	"fmt"
)

// version is said by both ends in their first frames. Versions do not understand each other.
const version = "door 1"

// frame is the kind of a frame.
type frame byte

const (
	frameHello  frame = 1 + iota // the version
	frameOpen                    // how much may be sent in answer, then the words of an Ask
	frameAccept                  // how much may be sent, then words
	frameRefuse                  // the words of a Refusal, which ends the stream
	frameData                    // bytes of the stream
	frameGrant                   // how much more may be sent
	frameEnd                     // there is no more data
	frameClose                   // nor is any read
	frameReset                   // ends the stream
)

// answering marks frames of streams that their receiver opened: each end numbers its own.
const answering frame = 0x80

const headSize = 9 // kind, stream, size

// maxData is how much data one frame carries, such that one fills a block.
const maxData = blockSize - headSize

// head is what a frame begins with.
type head struct {
	kind   frame
	own    bool // of a stream that we opened
	stream uint32
	size   int
}

func decodeHead(b []byte) head {
	kind := frame(b[0])
	return head{kind &^ answering, kind&answering != 0, binary.BigEndian.Uint32(b[1:]), int(binary.BigEndian.Uint32(b[5:]))}
}

// appendHead appends the head of a frame that is sent.
func appendHead(b []byte, h head) []byte {
	kind := h.kind
	if !h.own {
		kind |= answering
	}
	b = binary.BigEndian.AppendUint32(append(b, byte(kind)), h.stream)
	return binary.BigEndian.AppendUint32(b, uint32(h.size)) //nolint:gosec // bounded by who asks for it
}

// check tells whether the frame may be so large.
func (h head) check(tables bool) error {
	least, most := 0, 0
	switch h.kind {
	case frameHello, frameRefuse:
		most = MaxAsk
	case frameOpen, frameAccept:
		least, most = 4, 4+MaxAsk
		if h.kind == frameOpen && tables {
			most = 4 + MaxTable
		}
	case frameData:
		least, most = 1, maxData
	case frameGrant:
		least, most = 4, 4
	case frameEnd, frameClose, frameReset:
	default:
		return fmt.Errorf("a frame of the unknown kind %d", h.kind)
	}
	if h.size < least || h.size > most {
		return fmt.Errorf("a frame of kind %d with %d bytes", h.kind, h.size)
	}
	return nil
}

// number is one in front of a message, which has it.
func number(message []byte) (n int, rest []byte) {
	return int(binary.BigEndian.Uint32(message)), message[4:]
}
