"""What the libraries answer: the examples of upstream's documentation, and how each function fails."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api import cel

ENVIRONMENT = cel.Environment(
    {"authorizer": cel.types.Type("object", "kubernetes.authorization.Authorizer", fields={})}
)

TRUE = r"""
'tacocat'.charAt(3) == 'o' && 'abc'.charAt(3) == ''
'hello mellow'.indexOf('') == 0 && 'hello mellow'.indexOf('ello') == 1 && 'hello mellow'.indexOf('jello') == -1
'hello mellow'.indexOf('', 2) == 2 && 'hello mellow'.indexOf('ello', 2) == 7
'hello mellow'.indexOf('ello', 20) == -1
'hello mellow'.lastIndexOf('') == 12 && 'hello mellow'.lastIndexOf('ello') == 7
'hello mellow'.lastIndexOf('ello', 6) == 1
'TacoCÆt Xii'.lowerAscii() == 'tacocÆt xii' && 'TacoCÆt Xii'.upperAscii() == 'TACOCÆT XII'
'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'
'hello hello'.replace('he', 'we', 0) == 'hello hello' && 'ab'.replace('', '_') == '_a_b_'
'hello hello hello'.split(' ') == ['hello', 'hello', 'hello'] && 'a b c'.split(' ', 0) == []
'a b c'.split(' ', 1) == ['a b c'] && 'a b c'.split(' ', 2) == ['a', 'b c'] && 'héy'.split('') == ['h', 'é', 'y']
'abc'.split('', 2) == ['a', 'bc']
'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && 'abc'.substring(3) == ''
'  \ttrim\n    '.trim() == 'trim' && ['x', 'y'].join() == 'xy' && ['x', 'y'].join('-') == 'x-y'
[].join('/') == ''
strings.quote('single-quote with "double quote"') == '"single-quote with \\"double quote\\""'
'%s and %s, %d%%, %x %X %o %b'.format(['a', [1, 'b'], 7, 255, 'hi', 8, true]) == 'a and [1, "b"], 7%, ff 6869 10 1'
'%.3f %f'.format([1.2345, 1234567.0]) == '1.234 1,234,567.000000'
'%s'.format([{'b': 1.5, 'a': null}]) == '{"a":null, "b":1.500000}'
'%s %s'.format([duration('1h'), timestamp('2020-01-01T00:00:00Z')]) == '3600s 2020-01-01T00:00:00Z'
'abc 123'.find('[0-9]*') == '' && 'abc 123'.find('[0-9]+') == '123' && 'abc 123'.find('xyz') == ''
'123 abc 456'.findAll('[0-9]+') == ['123', '456'] && '123 abc 456'.findAll('[0-9]+', 1) == ['123']
'a'.findAll('a', 0) == []
[1, 2, 3].isSorted() && !['b', 'a'].isSorted() && [].isSorted() && [2.0, 1.0].min() == 1.0
['a', 'b'].max() == 'b'
[1, 3].sum() == 4 && [1.5, 3.0].sum() == 4.5 && [duration('1m'), duration('1s')].sum() == duration('61s')
[].sum() == 0
[1, 2, 2, 3].indexOf(2) == 1 && [1, 2, 2, 3].lastIndexOf(2) == 2 && ['a'].indexOf('b') == -1
[1, 2].includes(2) && !dyn('a').includes('b') && dyn('a').includes('a')
[1, 2, 3, 4].slice(1, 3) == [2, 3] && [[1], [2, 3], []].flatten() == [1, 2, 3]
[dyn(1), [2, dyn([3, dyn([4])])]].flatten(2) == [dyn(1), 2, 3, [4]] && [2, 1, 1].distinct() == [2, 1]
[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].reverse() == ['a', 'b'] && lists.range(3) == [0, 1, 2]
[{'n': 'b', 'p': '2'}, {'n': 'a', 'p': '1'}].sortBy(e, e.n).map(e, e.p) == ['1', '2']
[3, 1].sortBy(e, -e) == [3, 1]
sets.contains([1, 2], [2]) && !sets.contains([1], [1, 2]) && sets.equivalent([1, 1, 2], [2, 1])
sets.intersects([1], [1, 2]) && !sets.intersects([1], [])
sets.contains([[1], [2, 3]], [[2, 3]]) && !sets.contains([1], [dyn(true)])
url('https://user:pass@example.com:80/a/b?k1=a&k2=b&k2=c&%20x=+y#frag').getHost() == 'example.com:80'
url('https://example.com:80/').getHostname() == 'example.com' && url('https://[::1]:80/').getHostname() == '::1'
url('https://[::1]:80/').getPort() == '80'
url('/path').getScheme() == '' && url('https://example.com/').getScheme() == 'https'
url('https://example.com').getPort() == ''
url('https://example.com/path with spaces/').getEscapedPath() == '/path%20with%20spaces/'
url('https://example.com').getEscapedPath() == ''
url('https://example.com/path?k1=a&k2=b&k2=c').getQuery() == {'k1': ['a'], 'k2': ['b', 'c']}
url('https://example.com/path?').getQuery() == {}
url('https://example.com/path?key with spaces=value with spaces').getQuery() == {'key with spaces': ['value with spaces']}
isURL('https://user:pass@example.com:80/path?query=val#fragment') && isURL('/absolute-path')
!isURL('https://a:b:c/') && !isURL('../relative') && !isURL('')
isQuantity('1.3Gi') && !isQuantity('1,3G') && !isQuantity('200K') && !isQuantity('Mi')
quantity('1.5G') == quantity('1500M')
quantity('50k').add(20) == quantity('50020') && quantity('50k').sub(quantity('20k')) == quantity('30k')
quantity('50k').add(20).sub(quantity('100k')).sub(-50000) == quantity('20')
quantity('50k').asInteger() == 50000 && !quantity('1500m').isInteger()
quantity('50k').sub(20000).asApproximateFloat() == 30000.0 && sign(quantity('-1')) == -1
quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('50Mi').isGreaterThan(quantity('50M'))
quantity('50M').isLessThan(quantity('100M'))
isIP('127.0.0.1') && isIP('::1') && !isIP('127.0.0.256') && !isIP(':::1') && !isIP('fe80::1%eth0')
!isIP('::ffff:1.2.3.4') && !isIP('01.2.3.4')
ip('::1').family() == 6 && ip('127.0.0.1').family() == 4 && string(ip('::0:1')) == '::1'
ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')
ip('0.0.0.0').isUnspecified() && ip('127.0.0.1').isLoopback() && ip('224.0.0.1').isLinkLocalMulticast()
!ip('224.0.1.1').isLinkLocalMulticast() && ip('ff02::1').isLinkLocalMulticast()
ip('169.254.169.254').isLinkLocalUnicast() && ip('fe80::1').isLinkLocalUnicast()
ip('192.168.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast() && !ip('ff00::1').isGlobalUnicast()
cidr('192.168.0.0/24').containsIP('192.168.0.1') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))
cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24')
!cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/16'))
cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24') && cidr('192.168.0.1/24').ip() == ip('192.168.0.1')
cidr('::1/128').prefixLength() == 128 && string(cidr('::1/128')) == '::1/128'
isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0') && !isCIDR('::ffff:1.2.3.4/112')
type(cidr('::/0')) == net.CIDR
isSemver('1.0.0') && !isSemver('v1.0') && isSemver('v1.0', true) && semver('01.01.01', true) == semver('1.1.1')
semver('1.2.3').major() == 1 && semver('1.2.3').patch() == 3
semver('1.2.3').compareTo(semver('2.0.0')) == -1 && semver('1.0.0-alpha').isLessThan(semver('1.0.0'))
semver('1.0.0-alpha.10').isGreaterThan(semver('1.0.0-alpha.9')) && semver('1.0.0+b') == semver('1.0.0')
!format.dns1123Label().validate('my-label').hasValue() && format.dns1123Label().validate('Bad').value().size() == 1
format.named('nope') == optional.none()
!format.named('uuid').value().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()
format.date().validate('2021-13-01') == optional.of(['invalid date'])
!format.dns1123LabelPrefix().validate('a-').hasValue()
format.byte().validate('a') == optional.of(['invalid base64'])
!format.datetime().validate('2021-01-01T00:00:00Z').hasValue()
optional.of(1).orValue(2) == 1 && optional.none().orValue(2) == 2 && optional.none().or(optional.of(3)).value() == 3
!optional.ofNonZeroValue('').hasValue() && optional.ofNonZeroValue(1).hasValue()
{'a': {'b': 1}}.?a.b == optional.of(1) && {'a': {'b': 1}}.?c.b == optional.none() && [1, 2][?1] == optional.of(2)
[1][?5].orValue(9) == 9
{'a': 1}[?'a'].optMap(v, v + 1).orValue(0) == 2 && {'a': [1]}.?a.optFlatMap(v, v[?0]) == optional.of(1)
{'a': 1}.?b.optMap(v, v / 0) == optional.none()
[?optional.of(1), ?optional.none(), 2] == [1, 2] && {?'a': optional.none(), 'b': 2} == {'b': 2}
!has({'a': {'c': 1}}.?a.b)
[1, 2, 3].all(i, v, i < v) && {'a': 'b'}.exists(k, v, k != v) && [1, 1, 2].existsOne(i, v, i == 1 && v == 1)
!{'k': 1}.exists_one(k, v, v == 2)
[1, 2, 3].transformList(i, v, i * v + v) == [1, 4, 9] && [1, 2, 3].transformList(i, v, i % 2 == 0, v) == [1, 3]
{'a': 1}.transformMap(k, v, v + 1) == {'a': 2}
[1, 2].transformMap(i, v, i == 1, v) == {1: 2}
{'greeting': 'hello'}.transformMapEntry(k, v, {v: k}) == {'hello': 'greeting'}
timestamp('2023-12-25T00:00:00.5Z').getMilliseconds() == 500
timestamp('2023-12-25T00:00:00-08:00').getHours() == 8 && timestamp('2023-12-25T00:00:00Z').getDayOfWeek() == 1
timestamp('2023-12-25T00:00:00Z').getHours('America/Los_Angeles') == 16
string(timestamp('2023-12-25T12:00:00.500+01:00')) == '2023-12-25T12:00:00.5+01:00'
duration('1h30m').getMinutes() == 90
string(duration('1h0.5s')) == '3600.5s' && duration('-1.5h') == duration('-90m')
string(1234567.0) == '1.234567e+06' && string(0.1) == '0.1' && string(1e-5) == '1e-05'
type(1) == int && type(1u) == uint && type(null) == null_type && type([]) == list && type({}) == map
type(type(1)) == type && type('') == string && type(b'') == bytes && type(quantity('1')) == kubernetes.Quantity
1 == dyn(1u) && dyn(1) == 1.0 && dyn(1) != '1' && {1: 'a'}[dyn(1.0)] == 'a' && dyn(true) != dyn(1)
!(dyn(true) in [1]) && {true: 1}[true] == 1 && [1, 2] == dyn([1.0, 2.0])
'\u00e9' == 'é' && r'\n' == '\\n' && b'\xff' == b'\377' && '''a'b''' == "a'b" && size('👑') == 1 && size(b'👑') == 4
0x10 == 16
-9223372036854775808 < 0 && 18446744073709551615u > 0u && 7 / -2 == -3 && -7 % 3 == -1 && 1.0 / 0.0 > 1e308
int(-1.9) == -1
dyn(9223372036854775807) == dyn(9223372036854775808.0) && !(9223372036854775807 < 9223372036854775808.0)
false && 1 / 0 == 1 || true || 1 / 0 == 1
!(1 / 0 == 1 && false) && (1 / 0 == 1 || true) && [0, 1].exists(x, 1 / x == 1) && ![0, 2].all(x, 1 / x == 1)
""".strip().splitlines()  # fmt: skip

FAILS = {
    "1 / 0 == 1": "division by zero",
    "1 % 0 == 1": "modulus by zero",
    "9223372036854775807 + 1 > 0": "integer overflow",
    "-(-9223372036854775808) > 0": "integer overflow",
    "0u - 1u == 0u": "unsigned integer overflow",
    "[1][3] == 1": "index out of bounds: 3",
    "{'a': 1}['x'] == 1": "no such key: x",
    "{'a': 1}.x == 1": "no such key: x",
    "dyn('a') + 1 == 2": "no such overload",
    "dyn(1) && true": "no such overload",
    "dyn(1) ? true : false": "no such overload",
    "int('x') == 1": "type conversion error from 'string' to 'int'",
    "int(1e30) == 1": "integer overflow",
    "uint(-1) == 1u": "unsigned integer overflow",
    "uint(-0.5) == 0u": "unsigned integer overflow",
    "-9223372036854775808 % -1 == 0": "integer overflow",
    "string(b'\\xff') == ''": "invalid UTF-8 in bytes, cannot convert to string",
    "{'a': 1, 'a': 2}.a == 1": "Failed with repeated key: a",
    "'abc'.charAt(4) == ''": "index out of range: 4",
    "'abc'.substring(2, 1) == ''": "invalid substring range. start: 2, end: 1",
    "[].min() == 1": "min called on empty list",
    "[1].slice(0, 2) == [1]": "cannot slice(0, 2), list is length 1",
    "optional.none().value() == 1": "optional.none() dereference",
    "'%d'.format(dyn(['a'])) == ''": "error during formatting: decimal clause can only be used on integers, was given string",
    "'%s'.format(dyn([])) == ''": "index 0 out of range",
    "quantity('1500m').asInteger() == 1": "cannot convert value to integer",
    "quantity('x') == quantity('1')":
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    "ip('::ffff:1.2.3.4').family() == 4": 'IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed',
    "timestamp('2020-01-01T00:00:00Z').getHours('Nowhere/None') == 1": "unknown time zone Nowhere/None",
    "timestamp('9999-12-31T23:59:59Z') + duration('1s') == timestamp(0)": "timestamp overflow",
    "'a'.matches('a' + '(')": "error parsing regexp: missing ): a(",
    "semver('1.0') == semver('1.0.0')": "No Major.Minor.Patch elements found",
    "[1, 2].transformMapEntry(i, v, {'k': v}) == {}": "insert failed: key k already exists",
    "authorizer.path(' ').check('get').allowed()": "path must not be empty",
    "authorizer.serviceAccount('Bad', 'a').path('/').check('get').allowed()": "Invalid service account namespace",
}  # fmt: skip


@pytest.mark.parametrize("source", TRUE)
def test_true(source: str) -> None:
    assert ENVIRONMENT.compile(source, expect=cel.types.Bool).evaluate({}) is True


@pytest.mark.parametrize(("source", "message"), FAILS.items())
def test_fails(source: str, message: str) -> None:
    program = ENVIRONMENT.compile(source)
    with pytest.raises(cel.EvaluationError) as error:
        program.evaluate({"authorizer": cel.Authorizer(lambda attributes: (True, ""))})
    assert str(error.value) == message


def test_authorizer_asks_and_tells() -> None:
    asked: list[dict[str, Any]] = []

    def check(attributes: dict[str, Any]) -> tuple[bool, str]:
        asked.append(attributes)
        if attributes["verb"] == "boom":
            raise RuntimeError("no answer")
        return attributes["verb"] == "get", "because"

    values = {"authorizer": cel.Authorizer(check)}

    def evaluate(source: str) -> Any:
        return ENVIRONMENT.compile(source).evaluate(values)

    pods = "authorizer.group('').resource('pods').subresource('log').namespace('default').name('a')"
    assert evaluate(f"{pods}.check('get').allowed()") is True
    assert asked.pop() == {
        "verb": "get", "group": "", "version": "*", "resource": "pods", "subresource": "log", "namespace": "default",
        "name": "a",
    }  # fmt: skip
    assert evaluate("authorizer.path('/x').check('post').reason()") == "because"
    assert asked.pop() == {"verb": "post", "path": "/x"}
    assert evaluate("authorizer.path('/x').check('boom').errored()") is True
    assert evaluate("authorizer.path('/x').check('boom').error()") == "no answer"
    asked.clear()
    selected = "authorizer.serviceAccount('ns', 'sa').group('apps').resource('deployments').labelSelector('a=b')"
    assert evaluate(f"{selected}.check('list').allowed()") is False
    assert asked[0]["user"] == "system:serviceaccount:ns:sa" and asked[0]["labelSelector"] == "a=b"


def test_two_authorization_checks_a_call_and_no_more() -> None:
    values = {"authorizer": cel.Authorizer(lambda attributes: (True, ""))}
    check = "authorizer.path('/').check('get').allowed()"
    assert ENVIRONMENT.compile(" && ".join([check] * 2)).evaluate(values) is True
    with pytest.raises(cel.BudgetExceeded):
        ENVIRONMENT.compile(" && ".join([check] * 3)).evaluate(values)
