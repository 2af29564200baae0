package tree

import (
	"archive/tar"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// entry is what a tar stream says of one file. The standard library's writer has no sparse files, so this is our own.
type entry struct {
	name, link string
	kind       byte // of package tar
	mode       uint32
	uid, gid   uint32
	size       int64 // of what follows
	mtime      unix.Timespec
	sparse     bool
	realSize   int64 // of a sparse file
}

func entryOf(name string, kind byte, st *unix.Stat_t) entry {
	return entry{name: name, kind: kind, mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid, mtime: st.Mtim}
}

// encode returns the entry's header: its block, and before it one with what does not fit into that.
func (e entry) encode() []byte {
	name := e.name
	var records strings.Builder
	add := func(key, value string) { records.WriteString(record(key, value)) }
	if e.sparse {
		add("GNU.sparse.major", "1")
		add("GNU.sparse.minor", "0")
		add("GNU.sparse.name", e.name)
		add("GNU.sparse.realsize", strconv.FormatInt(e.realSize, 10))
		name = "GNUSparseFile.0/" + path.Base(e.name)
	} else if !fits(e.name) {
		add("path", e.name)
	}
	if !fits(e.link) {
		add("linkpath", e.link)
	}
	for _, number := range []struct {
		key   string
		value int64
		most  int64
	}{{"uid", int64(e.uid), 1<<21 - 1}, {"gid", int64(e.gid), 1<<21 - 1}, {"size", e.size, 1<<33 - 1}} {
		if number.value > number.most {
			add(number.key, strconv.FormatInt(number.value, 10))
		}
	}
	if e.mtime.Nsec != 0 || e.mtime.Sec < 0 || e.mtime.Sec >= 1<<33 {
		add("mtime", seconds(e.mtime))
	}
	var out []byte
	if text := records.String(); text != "" {
		extended := entry{kind: tar.TypeXHeader, mode: 0o644, size: int64(len(text))}
		out = append(extended.block("PaxHeaders.0/"+plain(path.Base(name))), text...)
		out = append(out, make([]byte, padding(int64(len(text))))...)
	}
	return append(out, e.block(plain(name))...)
}

// block is a header of one block. What does not fit into a field is cut, and is in a record before it.
func (e entry) block(name string) []byte {
	b := make([]byte, blockSize)
	copy(b[0:100], name)
	octal(b[100:108], int64(e.mode))
	octal(b[108:116], int64(e.uid))
	octal(b[116:124], int64(e.gid))
	octal(b[124:136], e.size)
	octal(b[136:148], max(e.mtime.Sec, 0))
	copy(b[148:156], "        ")
	b[156] = e.kind
	copy(b[157:257], plain(e.link))
	copy(b[257:265], "ustar\x0000")
	sum := int64(0)
	for _, c := range b {
		sum += int64(c)
	}
	octal(b[148:155], sum)
	return b
}

// octal writes a number into a field, with a NUL behind it, or zero if it does not fit.
func octal(field []byte, n int64) {
	digits := strconv.FormatInt(n, 8)
	if len(digits) > len(field)-1 {
		digits = "0"
	}
	copy(field, strings.Repeat("0", len(field)-1-len(digits))+digits)
	field[len(field)-1] = 0
}

// record is one of an extended header: its own length in decimal, a key and a value.
func record(key, value string) string {
	rest := len(key) + len(value) + len(" =\n")
	size := rest
	for size != rest+len(strconv.Itoa(size)) {
		size = rest + len(strconv.Itoa(size))
	}
	return strconv.Itoa(size) + " " + key + "=" + value + "\n"
}

// fits tells whether a name can be in a header's block as it is.
func fits(name string) bool { return len(name) <= 100 && plain(name) == name }

// plain is a name without the bytes that are no ASCII, cut to what fits.
func plain(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 0x80 {
			return '_'
		}
		return r
	}, name)
	return name[:min(len(name), 100)]
}

// seconds is a time as records have it.
func seconds(t unix.Timespec) string {
	sec, nsec, sign := t.Sec, t.Nsec, ""
	if sec < 0 {
		if sign = "-"; nsec > 0 {
			sec, nsec = sec+1, int64(time.Second)-nsec
		}
		sec = -sec
	}
	text := strconv.FormatInt(nsec, 10)
	return sign + strconv.FormatInt(sec, 10) + "." + strings.Repeat("0", 9-len(text)) + text
}

// padding is how many bytes follow so many, up to the end of their block.
func padding(n int64) int64 { return -n & (blockSize - 1) }
