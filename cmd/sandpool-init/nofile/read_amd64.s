#include "textflag.h"

// func read(limit *[2]uint64) bool
TEXT ·read(SB),NOSPLIT,$0-9
	MOVQ	$7, DI // RLIMIT_NOFILE
	MOVQ	limit+0(FP), SI
	MOVL	$97, AX // getrlimit
	SYSCALL
	TESTQ	AX, AX
	SETEQ	ret+8(FP)
	RET
