package door

import (
	"errors"
	"io"

	"sandpool/runtime/supervisor/protocol"
)

var errOrder = errors.New("the peer breaks the order of a stream")

// accepted takes the peer's answer to our own stream.
func (st *Stream) accepted(message []byte) error {
	credit, rest := number(message)
	words, err := protocol.SplitWords(rest)
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.finished:
		return nil
	case !st.own || st.answered:
		return errOrder
	}
	st.answered, st.allowed, st.credit = true, st.window, min(credit, maxCredit)
	st.answer <- answer{words: words}
	return nil
}

// refused ends our own stream.
func (st *Stream) refused(message []byte) error {
	why, err := decodeRefusal(message)
	if err != nil {
		return err
	}
	st.mu.Lock()
	unasked := !st.finished && (!st.own || st.answered)
	st.mu.Unlock()
	if unasked {
		return errOrder
	}
	st.finish(why)
	return nil
}

// granted lets more be written.
func (st *Stream) granted(more int) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.credit += more; st.credit > maxCredit {
		return errors.New("the peer lets more come than there can be")
	}
	poke(st.writable)
	return nil
}

// peerEnds notes that the peer writes no more, and perhaps reads no more.
func (st *Stream) peerEnds(closes bool) error {
	st.mu.Lock()
	over := st.finished || closes || st.shut != nil
	switch {
	case st.finished:
	case !st.answered, !closes && st.ended != nil:
		st.mu.Unlock()
		return errOrder
	case closes:
		st.finished = true
		st.shutLocked(ErrLeft)
		fallthrough
	default:
		st.endLocked(io.EOF)
		st.finished = over
	}
	st.mu.Unlock()
	if over {
		st.session.forget(st)
	}
	return nil
}

// admit counts data that comes.
func (st *Stream) admit(size int) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.finished:
		return nil
	case !st.answered || st.ended != nil:
		return errOrder
	case size > st.allowed:
		return errors.New("the peer sends more at once than was asked for")
	}
	st.allowed -= size
	return nil
}

// deliver keeps data that has come, until it is taken.
func (st *Stream) deliver(data []byte) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return
	}
	for len(data) > 0 {
		last := len(st.kept) - 1
		if last < 0 || st.kept[last].to == len(st.kept[last].data) {
			size := smallSize
			if len(data) > smallSize {
				size = blockSize
			}
			st.kept = append(st.kept, newBlock(size))
			last++
		}
		tail := st.kept[last]
		n := copy(tail.data[tail.to:], data)
		tail.to += n
		data = data[n:]
	}
	poke(st.readable)
}
