import Foundation
import PackagePlugin

/// Puts the files of a target's `Resources` folder into its code, as `PackageResources.name_ending`: one binary needs no files beside it.
///
/// SwiftPM's own `embedInCode` writes an array of numbers, for which the compiler needs minutes where a file has some hundred kilobytes.
@main
struct EmbedText: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        guard let folder = target.sourceModule?.directoryURL.appending(path: "Resources") else { return [] }
        guard let paths = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: [.isRegularFileKey]) else { return [] }
        let files = paths.compactMap { $0 as? URL }.filter { (try? $0.resourceValues(forKeys: [.isRegularFileKey]))?.isRegularFile == true }
            .sorted { $0.path < $1.path }
        let output = context.pluginWorkDirectoryURL.appending(path: "PackageResources.swift")
        return [
            .buildCommand(
                displayName: "Embedding the texts of \(target.name)", executable: try context.tool(named: "embed-text").url,
                arguments: [output.path] + files.map(\.path), inputFiles: files, outputFiles: [output])
        ]
    }
}
