// The C side of the binding. It is compiled against the installed header, so that the layout of ISA-L's structures is
// never written down a second time. It allocates nothing, keeps nothing from one call to the next, and has no globals.
#include <isa-l/igzip_lib.h>
#include <stddef.h>
#include <stdint.h>

#if ISAL_DEF_MAX_LEVEL != 3
#error "This binding knows the levels 0 to 3."
#endif

// The memory of a compressor: the stream's state, and behind it the buffer that levels above 0 ask for.
static const size_t ALIGNMENT = 64;

static size_t state_bytes(void) {
	return (sizeof(struct isal_zstream) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint32_t level_buffer_bytes(uint32_t level) {
	switch (level) {
	case 1:
		return ISAL_DEF_LVL1_DEFAULT;
	case 2:
		return ISAL_DEF_LVL2_DEFAULT;
	case 3:
		return ISAL_DEF_LVL3_DEFAULT;
	default:
		return 0;
	}
}

size_t psb_igzip_compressor_bytes(uint32_t level) {
	return state_bytes() + level_buffer_bytes(level);
}

// Makes one gzip member of the input. `memory` is aligned to 64 bytes and has psb_igzip_compressor_bytes(level) bytes.
// Behind the input there are at least eight bytes that can be read: the code for arm64 compares eight bytes at a time.
// Answers ISA-L's code, and in `written` how many bytes of `out` were written.
int psb_igzip_compress(void *memory, uint32_t level, const uint8_t *in, uint32_t in_bytes, uint8_t *out, uint32_t out_bytes,
		       uint32_t *written) {
	struct isal_zstream *stream = memory;
	int code;

	isal_deflate_stateless_init(stream);
	// The initialiser leaves these as they were.
	stream->hist_bits = 0;
	stream->level = level;
	stream->level_buf_size = level_buffer_bytes(level);
	stream->level_buf = stream->level_buf_size ? (uint8_t *)memory + state_bytes() : NULL;
	// A call changes this to "without a header": it has to be set before each one.
	stream->gzip_flag = IGZIP_GZIP;
	stream->flush = NO_FLUSH;
	stream->end_of_stream = 1;
	// ISA-L only reads from it; the type of its field is older than that care.
	stream->next_in = (uint8_t *)(uintptr_t)in;
	stream->avail_in = in_bytes;
	stream->next_out = out;
	stream->avail_out = out_bytes;
	code = isal_deflate_stateless(stream);
	*written = stream->total_out;
	return code;
}
