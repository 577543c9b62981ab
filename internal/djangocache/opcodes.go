package djangocache

// The opcodes that are read, as Python's pickletools names them.
const (
	opMark            = '('
	opStop            = '.'
	opProto           = 0x80
	opFrame           = 0x95
	opNone            = 'N'
	opNewTrue         = 0x88
	opNewFalse        = 0x89
	opBinInt          = 'J'
	opBinInt1         = 'K'
	opBinInt2         = 'M'
	opLong1           = 0x8a
	opLong4           = 0x8b
	opBinFloat        = 'G'
	opShortBinUnicode = 0x8c
	opBinUnicode      = 'X'
	opBinUnicode8     = 0x8d
	opShortBinBytes   = 'C'
	opBinBytes        = 'B'
	opBinBytes8       = 0x8e
	opEmptyList       = ']'
	opList            = 'l'
	opAppend          = 'a'
	opAppends         = 'e'
	opEmptyTuple      = ')'
	opTuple           = 't'
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opEmptyDict       = '}'
	opDict            = 'd'
	opSetItem         = 's'
	opSetItems        = 'u'
	opPut             = 'p'
	opBinPut          = 'q'
	opLongBinPut      = 'r'
	opMemoize         = 0x94
	opGet             = 'g'
	opBinGet          = 'h'
	opLongBinGet      = 'j'
)

// refusal says why an opcode is not read.
func refusal(op byte) (what string, sentinel error) {
	switch op {
	case 'c':
		return "GLOBAL", ErrUnsafe
	case 0x93:
		return "STACK_GLOBAL", ErrUnsafe
	case 'R':
		return "REDUCE", ErrUnsafe
	case 'b':
		return "BUILD", ErrUnsafe
	case 'i':
		return "INST", ErrUnsafe
	case 'o':
		return "OBJ", ErrUnsafe
	case 0x81:
		return "NEWOBJ", ErrUnsafe
	case 0x92:
		return "NEWOBJ_EX", ErrUnsafe
	case 0x82:
		return "EXT1", ErrUnsafe
	case 0x83:
		return "EXT2", ErrUnsafe
	case 0x84:
		return "EXT4", ErrUnsafe
	case 'P':
		return "PERSID", ErrUnsafe
	case 'Q':
		return "BINPERSID", ErrUnsafe
	case 0x97:
		return "NEXT_BUFFER", ErrUnsafe
	case 0x98:
		return "READONLY_BUFFER", ErrUnsafe
	case 0x8f, 0x90:
		return "a set", ErrUnsupported
	case 0x91:
		return "a frozenset", ErrUnsupported
	case 0x96:
		return "a bytearray", ErrUnsupported
	case 'I', 'L', 'F', 'S', 'T', 'U', 'V':
		return "an opcode of protocol 0 or 1", ErrUnsupported
	case '0', '1', '2':
		return "an opcode of values that contain themselves", ErrUnsupported
	}
	return "no opcode", ErrDamaged
}
