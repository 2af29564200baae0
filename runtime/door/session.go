package door

import (
	"context"
	"net"
	"os"
	"time"
)

type Session struct{}

func New(in, out *os.File, o Options) *Session { panic("") }
func (s *Session) Serve(accept func(*Stream)) error { panic("") }
func (s *Session) Open(ctx context.Context, a Ask) (*Stream, []string, error) { panic("") }
func (s *Session) Close() { panic("") }
func (s *Session) Done() <-chan struct{} { panic("") }

type Stream struct{}

func (st *Stream) Ask() Ask { panic("") }
func (st *Stream) Accept(words ...string) error { panic("") }
func (st *Stream) Refuse(r Refusal) error { panic("") }
func (st *Stream) Read(p []byte) (int, error) { panic("") }
func (st *Stream) Write(p []byte) (int, error) { panic("") }
func (st *Stream) Close() error { panic("") }
func (st *Stream) CloseWrite() error { panic("") }
func (st *Stream) Reset() { panic("") }
func (st *Stream) LocalAddr() net.Addr { panic("") }
func (st *Stream) RemoteAddr() net.Addr { panic("") }
func (st *Stream) SetDeadline(t time.Time) error { panic("") }
func (st *Stream) SetReadDeadline(t time.Time) error { panic("") }
func (st *Stream) SetWriteDeadline(t time.Time) error { panic("") }

var _ net.Conn = (*Stream)(nil)
