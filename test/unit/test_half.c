/*
 * test_half.c - F16 and BF16 to fp32: all 65,536 inputs of each.
 *
 * The expected value is computed by ldexp from the fields of the format, a way
 * that shares nothing with the shifts in half.h.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/half.h"

/* sign * mantissa * 2^exponent for a format of these field widths. */
static double
by_fields(unsigned h, int exponent_bits, int mantissa_bits)
{
	int	   bias = (1 << (exponent_bits - 1)) - 1;
	int	   exponent = (int) (h >> mantissa_bits) & ((1 << exponent_bits) - 1);
	int	   mantissa = (int) h & ((1 << mantissa_bits) - 1);
	double sign = h >> 15 ? -1.0 : 1.0;

	if (exponent == (1 << exponent_bits) - 1)
		return mantissa ? NAN : sign * INFINITY;
	if (exponent == 0)
		return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
	return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

static void
check_all(float (*convert)(uint16_t), int exponent_bits, int mantissa_bits)
{
	for (unsigned h = 0; h < 65536; h++)
	{
		double wanted = by_fields(h, exponent_bits, mantissa_bits);
		float  got = convert((uint16_t) h);

		if (isnan(wanted) ? !isnan(got)
						  : (got != (float) wanted || !signbit(got) != !signbit(wanted)))
			fail_msg("0x%04x became %a, not %a", h, got, wanted);
	}
}

static void
test_f16(void **state)
{
	(void) state;
	check_all(glm_f16_to_f32, 5, 10);
}

static void
test_bf16(void **state)
{
	(void) state;
	check_all(glm_bf16_to_f32, 8, 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_f16),
		cmocka_unit_test(test_bf16),
	};

	return cmocka_run_group_tests_name("half", tests, NULL, NULL);
}
