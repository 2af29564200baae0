#include "textflag.h"

// func rawVfork(args *cloneArgs) (pid uintptr, err syscall.Errno)
// The child runs on this stack until it becomes a program, and what it calls overwrites the return address.
TEXT ·rawVfork(SB),NOSPLIT|NOFRAME,$0-24
	MOVQ	args+0(FP), DI
	MOVQ	$88, SI // the size of cloneArgs
	POPQ	R12
	MOVL	$435, AX // clone3
	SYSCALL
	PUSHQ	R12
	CMPQ	AX, $0xfffffffffffff001
	JLS	ok
	NEGQ	AX
	MOVQ	$0, pid+8(FP)
	MOVQ	AX, err+16(FP)
	RET
ok:
	MOVQ	AX, pid+8(FP)
	MOVQ	$0, err+16(FP)
	RET
