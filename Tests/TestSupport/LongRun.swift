import Foundation

/// GRANTEE_TEST_LONG=1 asks for the long form of some tests.
package let isLongRun = ProcessInfo.processInfo.environment["GRANTEE_TEST_LONG"] == "1"
