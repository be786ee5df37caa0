import ArgumentParser
import AsyncHTTPClient
@main struct G: ParsableCommand {}
