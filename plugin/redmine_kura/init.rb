# frozen_string_literal: true

# Registers the plugin and names every class of Redmine that it changes, each once.
# Without KURA_URL nothing is changed, and Redmine keeps its files as it always did.

Redmine::Plugin.register :redmine_kura do
  name 'Kura'
  author 'The Kura authors'
  description 'Keeps attachments, thumbnails and imports in Kura, the S3 storage sidecar for Redmine'
  version '0.1.0'
  requires_redmine version_or_higher: '5.0'
  settings default: {}, partial: 'settings/redmine_kura'
end

if RedmineKura.active?
  ApplicationController.include RedmineKura::Patches::ApplicationControllerPatch
  AdminController.prepend RedmineKura::Patches::AdminControllerPatch
  Attachment.prepend RedmineKura::Patches::AttachmentReadingPatch
  Attachment.prepend RedmineKura::Patches::AttachmentStoringPatch
  Attachment.prepend RedmineKura::Patches::AttachmentKeepingPatch
  Attachment.singleton_class.prepend RedmineKura::Patches::AttachmentClassPatch
  AttachmentsController.prepend RedmineKura::Patches::AttachmentsControllerPatch
  Import.prepend RedmineKura::Patches::ImportPatch
  MailHandler.singleton_class.prepend RedmineKura::Patches::MailHandlerPatch
  MailHandlerController.rescue_from(RedmineKura::Error) { head :service_unavailable }
  Redmine::Thumbnail.singleton_class.prepend RedmineKura::Patches::ThumbnailPatch

  # Redmine's own setting: thumbnails on this disk are kept apart for each tenant.
  Attachment.thumbnails_storage_path = RedmineKura.files.thumbnails_directory
end
