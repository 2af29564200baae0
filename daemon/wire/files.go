package wire

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// FileKind says what a file is.
type FileKind string

// What a file can be.
const (
	KindFile   FileKind = "file"
	KindFolder FileKind = "folder"
	KindLink   FileKind = "link"
	KindPipe   FileKind = "pipe"
	KindSocket FileKind = "socket"
	KindDevice FileKind = "device"
)

// File is what is known of a file in a sandbox.
type File struct {
	// Path is as it was asked for, or in a list from the folder that is listed. Where it is no UTF-8, what is none of it is U+FFFD here, and
	// PathBytes has the path; so it is with Target.
	Path        string    `json:"path"`
	PathBytes   []byte    `json:"path_bytes,omitempty"`
	Kind        FileKind  `json:"kind"`
	Mode        string    `json:"mode"` // in octal, such as 0644
	UID         uint32    `json:"uid"`
	GID         uint32    `json:"gid"`
	Size        int64     `json:"size"` // in bytes
	ModifiedAt  time.Time `json:"modified_at"`
	Target      string    `json:"target,omitempty"` // where a link leads
	TargetBytes []byte    `json:"target_bytes,omitempty"`
	ETag        string    `json:"etag"` // another one when the content is: by size, time and inode
}

// Name is the file's path, whatever its bytes are.
func (f File) Name() string {
	if f.PathBytes != nil {
		return string(f.PathBytes)
	}
	return f.Path
}

// Text is a name as JSON has it, and its bytes if they are no UTF-8.
func Text(name string) (text string, raw []byte) {
	if utf8.ValidString(name) {
		return name, nil
	}
	return strings.ToValidUTF8(name, "\uFFFD"), []byte(name)
}

// FileEventKind says what became of a file that is watched.
type FileEventKind string

// What is told of files that are watched.
const (
	FileBegun      FileEventKind = "begun" // first of all: from now on
	FileLost       FileEventKind = "lost"  // something may have happened of which nothing is told: look anew
	FileCreated    FileEventKind = "created"
	FileChanged    FileEventKind = "changed" // its content, by a write
	FileWritten    FileEventKind = "written" // who wrote to it has closed it
	FileRemoved    FileEventKind = "removed"
	FileMovedFrom  FileEventKind = "moved_from"
	FileMovedTo    FileEventKind = "moved_to"
	FileAttributes FileEventKind = "attributes" // its mode, owner, time or number of names
)

// IsFileEvent tells whether a word is a kind of events that sandboxes tell of.
func IsFileEvent(word string) bool {
	return slices.Contains([]FileEventKind{FileLost, FileCreated, FileChanged, FileWritten, FileRemoved, FileMovedFrom, FileMovedTo, FileAttributes}, FileEventKind(word))
}

// FileEvent is a change of a file that is watched.
type FileEvent struct {
	Cursor    string        `json:"cursor"` // of this event, behind which another client can go on
	Time      time.Time     `json:"time"`   // when the daemon was told
	Kind      FileEventKind `json:"kind"`
	Path      string        `json:"path"` // from what is watched, which is "." itself
	PathBytes []byte        `json:"path_bytes,omitempty"`
	Folder    bool          `json:"folder,omitempty"`
	Dropped   int           `json:"dropped,omitempty"` // with FileLost: how many events nobody will be told of, if that is known
}

// Name is the path, whatever its bytes are.
func (e FileEvent) Name() string {
	if e.PathBytes != nil {
		return string(e.PathBytes)
	}
	return e.Path
}
